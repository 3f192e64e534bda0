#CREATE#
exit 0
