# Shared by the scripts of this folder. Sourced, not run.
#
# Everything here is quiet when there is nothing to do, and installs only what is missing.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
RUST_VERSION=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$ROOT/rust-toolchain.toml")
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Runs a command as root: as it is, or through sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"
    else die "need root (or sudo) for: $*"; fi
}

# need_packages NAME... : installs those Debian or Ubuntu packages that are missing.
need_packages() {
    local name missing=()
    for name in "$@"; do
        dpkg-query -W -f='${Status}\n' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    command -v apt-get >/dev/null || die "install these first: ${missing[*]} (no apt-get here)"
    say "installing: ${missing[*]}"
    local log; log=$(mktemp)
    if ! { as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >"$log" 2>&1 ||
           { as_root apt-get update -q >>"$log" 2>&1 &&
             as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >>"$log" 2>&1; }; }; then
        tail -n 20 "$log" >&2; rm -f "$log"; die "could not install: ${missing[*]}"
    fi
    rm -f "$log"
}

# What compiling the workspace takes.
need_build_tools() {
    need_packages gcc g++ libc6-dev make pkg-config libssl-dev libpcre2-dev ca-certificates curl
    need_rust
}

# The toolchain that rust-toolchain.toml names.
need_rust() {
    if command -v cargo >/dev/null && (cd "$ROOT" && cargo --version >/dev/null 2>&1); then
        return 0
    fi
    if ! command -v rustup >/dev/null; then
        say "installing rustup"
        curl --proto '=https' --tlsv1.2 -fsS https://sh.rustup.rs |
            sh -s -- -y -q --profile minimal --default-toolchain none || die "could not install rustup"
        . "$HOME/.cargo/env"
    fi
    rustup toolchain install "$RUST_VERSION" --profile minimal -c clippy -c rustfmt ||
        die "could not install Rust $RUST_VERSION"
}

# need_cargo_tool COMMAND CRATE [cargo install arguments]: builds a cargo tool that is missing.
need_cargo_tool() {
    local command=$1 crate=$2; shift 2
    command -v "$command" >/dev/null && return 0
    say "building $crate (once)"
    # A tool that runs for a second needs no long optimisation.
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
        cargo install --locked "$crate" "$@"
}

# Where cargo puts what it builds.
target_dir() { printf '%s\n' "${CARGO_TARGET_DIR:-$ROOT/target}"; }

# The text between the first line and the first line that is no comment: a script's own help.
help_text() { sed -n '2,/^[^#]/{/^#/!d;s/^# \{0,1\}//;p}' "$1"; }
