# The package format writer knows no links; `#LINKS#` becomes one line for each in the file list.
#LINKS#
exit 0
