# $1 is the number of versions that stay. An upgrade restarts what runs and starts nothing else.
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload >/dev/null 2>&1
    [ "$1" -ge 1 ] && systemctl try-restart halon.service >/dev/null 2>&1
fi
[ "$1" -eq 0 ] || exit 0
#REMOVE#
exit 0
