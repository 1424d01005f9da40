"""Domains of the internet: which endings exist, which hosts belong to nobody.

Country codes are ISO 3166 with the few others that are in use; of generic endings those under which
people have addresses (IANA's list holds over a thousand). Reserved ones are those of RFC 2606 and
RFC 6761: examples, tests, a machine itself.
"""

from __future__ import annotations

_COUNTRIES = frozenset(
    b"ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br "
    b"bs bt bw by bz ca cc cd cf cg ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz "
    b"ec ee eg er es et eu fi fj fk fm fo fr ga gd ge gf gg gh gi gl gm gn gp gq gr gs gt gu gw "
    b"gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw "
    b"ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu "
    b"mv mw mx my mz na nc ne nf ng ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt "
    b"pw py qa re ro rs ru rw sa sb sc sd se sg sh si sk sl sm sn so sr ss st su sv sx sy sz tc "
    b"td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws "
    b"ye yt za zm zw".split()
)
_GENERIC = frozenset(
    b"com org net edu gov mil int info biz name pro coop museum aero jobs mobi travel tel cat "
    b"post asia app dev online site store tech xyz club blog cloud email systems solutions "
    b"agency live world life news media digital design studio group team works services "
    b"consulting academy university school institute foundation church health care clinic legal "
    b"law bank finance berlin london paris nyc tokyo amsterdam hamburg bayern koeln wien swiss "
    b"scot wales eus gal bzh one top shop vip icu fun space website today social network tools "
    b"software engineering international global company business energy gmbh".split()
)
_RESERVED = frozenset(b"example test invalid localhost local internal".split())
_EXAMPLES = frozenset(b"example domain yourdomain mydomain yourcompany company email".split())


def country_or_generic(label: bytes) -> bool:
    """Whether a domain may end so; in one case only, since `q@k.mT` is a formula."""
    lower = label.lower()
    return (label in (lower, label.upper())) and (lower in _COUNTRIES or lower in _GENERIC)


def reserved_host(host: bytes) -> bool:
    """Hosts of examples and of one machine or net."""
    labels = host.lower().split(b".")
    return labels[-1] in _RESERVED or labels[-2] in _EXAMPLES
