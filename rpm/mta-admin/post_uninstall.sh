# An upgrade restarts what runs and starts nothing else. Configuration that was changed stays as
# .rpmsave; the package manager removes the empty directories.
[ -d /run/systemd/system ] || exit 0
systemctl daemon-reload >/dev/null 2>&1
[ "$1" -ge 1 ] && systemctl try-restart halon-web.service >/dev/null 2>&1
exit 0
