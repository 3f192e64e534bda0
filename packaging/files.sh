# Reads the lists in packaging/files. Sourced, after scripts/lib.sh.

# The one line that describes PACKAGE.
package_summary() { sed -n 's/^# summary: //p' "$ROOT/packaging/files/$1"; }

# All packages, in order.
package_names() { local list; for list in "$ROOT"/packaging/files/*; do basename "$list"; done; }

# expand_files PACKAGE PROGRAMS ASSETS: the list with patterns expanded, one line for each file,
# with absolute sources and final destinations: type mode owner:group destination source [format].
expand_files() {
    local type mode owner destination source format name path found
    while read -r type mode owner destination source format; do
        case $type in '' | '#'*) continue ;; esac
        case $type in
        dir)
            printf '%s %s %s %s - rpm\n' "$type" "$mode" "$owner" "$destination"
            continue ;;
        link)
            printf '%s %s %s %s %s %s\n' "$type" "$mode" "$owner" "$destination" "$source" "$format"
            continue ;;
        esac
        case $source in
        target/release/*) path=$2/${source#target/release/} ;;
        target/assets/*) path=$3/${source#target/assets/} ;;
        *) path=$ROOT/$source ;;
        esac
        found=0
        for path in $path; do
            [ -e "$path" ] || die "$1: there is no $source"
            found=1 name=$destination
            case $destination in */) name=$destination$(basename "$path") ;; esac
            [ "$type" = man ] && name=$name.gz
            printf '%s %s %s %s %s %s\n' "$type" "$mode" "$owner" "$name" "$path" "$format"
        done
        [ $found = 1 ] || die "$1: $source matches nothing"
    done <"$ROOT/packaging/files/$1"
}
