# $1 is the number of versions that stay.
[ "$1" -eq 0 ] || exit 0
#REMOVE#
exit 0
