# User, and group of the control socket.
getent group halon-web >/dev/null || groupadd -r halon-web
getent passwd halon-web >/dev/null ||
    useradd -r -g halon-web -d /nonexistent -M -s /sbin/nologin -c "Mail server administration" halon-web
getent group staff >/dev/null || groupadd -r staff
exit 0
