filedesc://a.arc 0.0.0.0 20140216012908 text/plain 76
1 0 tilth
URL IP-address Archive-date Content-type Archive-length

http://a.example/ 1.2.3.4 20140216012908 text/html9
HTTP/1.1 200 OK

http://a.example/ 1.2.3.4 20140216012908 text/plain 27
HTTP/1.1 200 OK

words ...
