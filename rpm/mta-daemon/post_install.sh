#CREATE#
# On the first installation the distribution's presets decide about the start.
[ -x /usr/bin/systemctl ] || exit 0
[ -d /run/systemd/system ] && systemctl daemon-reload >/dev/null 2>&1
[ "$1" -eq 1 ] && systemctl --no-reload preset halon.service >/dev/null 2>&1
exit 0
