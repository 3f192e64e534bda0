# User, and group of the control socket.
getent group halon >/dev/null || groupadd -r halon
getent passwd halon >/dev/null ||
    useradd -r -g halon -d /var/spool/halon -M -s /sbin/nologin -c "Mail server" halon
getent group staff >/dev/null || groupadd -r staff
exit 0
