"""A few documents with known answers, by id as `corpus.Corpus` gives them."""

from tilth.documents.document import Document

TEXTS = {
    "lease": "Lease of the house\n\nThe rent is 900 euro a month. The tenant pays it on the third "
    "working day. A tenant who leaves gives notice three months before.",
    "repairs": "Repairs\n\nWho pays for repairs? The landlord pays for repairs of the roof and of "
    "the heating. Small repairs are the tenant's.",
    "garden": "The garden is shared. Nobody parks there.",
    "empty": "   \n",
    "code": "import resource\n\ndef limit(size):\n    resource.setrlimit(resource.RLIMIT_AS, "
    "(size, size))\n",
}


class Texts(dict):
    """Documents by id."""

    def get_many(self, ids):
        return {
            id: Document(id, self[id], f"{id}.txt", metadata={"title": f"About {id}"})
            for id in ids
            if id in self
        }
