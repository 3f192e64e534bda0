# $1 is the number of versions that stay.
[ -x /usr/bin/systemctl ] || exit 0
[ "$1" -eq 0 ] || exit 0
if [ -d /run/systemd/system ]; then
    systemctl --no-reload disable --now halon.service >/dev/null 2>&1
else
    systemctl --no-reload disable halon.service >/dev/null 2>&1
fi
exit 0
