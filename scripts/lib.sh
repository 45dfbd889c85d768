# shellcheck shell=bash
# What the scripts share: finding the project, saying what happens, installing what is missing, building. Sourced, never
# run. Installs only as root; without root it says what to install and changes nothing outside the project.

set -euo pipefail

WARREN=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$WARREN"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$WARREN/target}
# Debian keeps ip, nft and others where only root's PATH looks; rustup keeps cargo in the home folder.
export PATH=${HOME:-/root}/.cargo/bin:$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}
is_root() { [ "$(id -u)" -eq 0 ]; }
has() { command -v "$1" >/dev/null 2>&1; }

# missing PROGRAM:PACKAGE ... prints the packages whose program is not there. A program may be a path.
missing() {
    local pair
    for pair in "$@"; do
        has "${pair%%:*}" || [ -e "${pair%%:*}" ] || printf '%s\n' "${pair#*:}"
    done | sort -u
}

# need PROGRAM:PACKAGE ... installs what is missing, or says what to install.
need() {
    local packages
    mapfile -t packages < <(missing "$@")
    install_packages "${packages[@]}"
}

# need_packages PACKAGE ... is for packages that are not told by a program.
need_packages() {
    local package packages=()
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || packages+=("$package")
    done
    install_packages "${packages[@]}"
}

install_packages() {
    [ $# -eq 0 ] && return
    is_root || fail "these Debian packages are missing: $*
Install them (sudo apt-get install $*) and run this again."
    say "installing $*"
    # A machine's list of packages may be old or empty: then what it names is gone, or too old for us.
    if [ -z "$(find /var/lib/apt/lists -maxdepth 0 -mtime -1 2>/dev/null)" ]; then
        apt_get update || say "the list of packages could not be renewed"
    fi
    apt_get install -y --no-install-recommends "$@" || {
        apt_get update
        apt_get install -y --no-install-recommends "$@"
    } || fail "apt-get could not install $*"
}
apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120 "$@" >&2; }

# The oldest toolchain that the workspace states.
rust_needed() { sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml; }
rust_here() { "${1:-cargo}" --version 2>/dev/null | cut -d' ' -f2; }
at_least() { [ -n "$1" ] && [ "$(printf "%s\n%s\n" "$1" "$2" | sort -V | head -n1)" = "$2" ]; }

# A C compiler (SQLite and the cryptography are partly C) and a Rust toolchain that is new enough.
need_rust() {
    need cc:gcc /usr/include/stdlib.h:libc6-dev
    local needed
    needed=$(rust_needed)
    if ! at_least "$(rust_here)" "$needed"; then
        need_debian_rust cargo-web
        export PATH=/usr/bin:$PATH
    fi
}

# need_debian_rust PACKAGE ...: parts of Debian's current Rust (cargo-web and its kin; they live in /usr/bin), new enough.
need_debian_rust() {
    local needed
    needed=$(rust_needed)
    need_packages "$@"
    if ! at_least "$(rust_here /usr/bin/cargo)" "$needed" && is_root; then
        say "renewing $*"
        apt_get update
        apt_get install -y --no-install-recommends "$@"
    fi
    at_least "$(rust_here /usr/bin/cargo)" "$needed" ||
        fail "Warren needs Rust $needed or newer; here is '$(rust_here /usr/bin/cargo)'. Install it with rustup or as Debian's cargo-web."
}

# build PROFILE CARGO-ARGUMENTS ... with a line of what is going on.
build() {
    local profile=$1
    shift
    say "building ($profile): $*"
    cargo build --locked --profile "$profile" "$@"
}

# A Python with what the programs in tests/python need, in a virtual environment beside what is built.
PYTHON=$CARGO_TARGET_DIR/python/bin/python
need_python_programs() {
    python3 -c 'import ensurepip' 2>/dev/null || need_packages python3-venv
    [ -x "$PYTHON" ] || python3 -m venv "$CARGO_TARGET_DIR/python"
    "$PYTHON" -m pip install --quiet --disable-pip-version-check -r tests/python/requirements.txt
}

# Folder of the programs that `build` makes.
built() {
    case $1 in
    dev) printf '%s/debug\n' "$CARGO_TARGET_DIR" ;;
    *) printf '%s/%s\n' "$CARGO_TARGET_DIR" "$1" ;;
    esac
}

# What labs of namespaces use.
# shellcheck disable=SC2034 # by the scripts that source this
LAB_TOOLS=(ip:iproute2 nft:nftables ethtool:ethtool ping:iputils-ping iperf3:iperf3)

# The mesh programs that ours is measured against, from Debian's packages. Unpacked, not installed: an installed one would
# start as a service of this machine.
RIVALS=$CARGO_TARGET_DIR/rivals
need_rivals() {
    local package
    for package in yggdrasil babeld libb2-1; do # babeld needs the last
        [ -d "$RIVALS/usr/share/doc/$package" ] && continue
        say "fetching $package to compare with"
        mkdir -p "$RIVALS"
        (
            cd "$RIVALS"
            apt-get -qq download "$package" || { is_root && apt_get update && apt-get -qq download "$package"; }
            dpkg-deb -x "$package"_*.deb .
        ) || say "$package cannot be had here: its figures will be missing"
    done
    export PATH=$RIVALS/usr/sbin:$RIVALS/usr/bin:$PATH
    LD_LIBRARY_PATH=$(printf '%s:' "$RIVALS"/usr/lib/*-linux-gnu)${LD_LIBRARY_PATH:-}
    export LD_LIBRARY_PATH
}

# The servers that spaces can keep messages and files on, for tests: PostgreSQL from Debian, and an S3 store (moto, from
# PyPI) in a virtual environment of its own. Tests start and end them by themselves.
S3_SERVER=$CARGO_TARGET_DIR/s3-server
missing_servers() {
    missing setpriv:util-linux curl:curl python3:python3
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || echo postgresql
    [ -x "$S3_SERVER/bin/moto_server" ] || python3 -c 'import ensurepip' 2>/dev/null || echo python3-venv
}
need_servers() {
    local packages
    mapfile -t packages < <(missing_servers)
    install_packages "${packages[@]}"
    if [ ! -x "$S3_SERVER/bin/moto_server" ]; then
        say "installing an S3 store into $S3_SERVER"
        python3 -m venv "$S3_SERVER"
        "$S3_SERVER/bin/pip" install --quiet --no-compile --disable-pip-version-check 'moto[s3]' flask flask-cors
    fi
}

# The relays that a space is measured against, and somebody else's driver, from crates.io. Built once, into a folder of
# their own; what cannot be built is left out of the figures.
PEERS=$CARGO_TARGET_DIR/peers
need_peers() {
    need protoc:protobuf-compiler pkg-config:pkgconf /usr/include/openssl/ssl.h:libssl-dev
    local crate locked
    for crate in nostr-rs-relay@0.8.12 nostr-bench@0.4.0; do
        [ -x "$PEERS/bin/${crate%@*}" ] && continue
        say "building $crate to compare with"
        # The lock file of the first names a crate `time` that today's compilers refuse.
        locked=--locked
        [ "${crate%@*}" = nostr-rs-relay ] && locked=
        cargo install ${locked:+"$locked"} --quiet --root "$PEERS" --target-dir "$PEERS" "$crate" >&2 ||
            say "$crate cannot be built here: its figures will be missing"
    done
    if [ ! -x "$PEERS/bin/rust-nostr-relay" ] || [ tests/peers -nt "$PEERS/bin/rust-nostr-relay" ]; then
        say "building rust-nostr's relay to compare with"
        cargo install --locked --quiet --force --root "$PEERS" --target-dir "$PEERS" --path tests/peers >&2 ||
            say "rust-nostr's relay cannot be built here: its figures will be missing"
    fi
}

# ---- Programs for routers -------------------------------------------------------------------------------------------
# Debian's rustc-web comes with the source of its standard library, so it builds for targets that have no ready one; zig
# is the C compiler, the linker and the C library of them all. Both run in a virtual environment and a target folder of
# their own, so that nothing here is mixed with the machine's toolchain.

CROSS_TARGET_DIR=$CARGO_TARGET_DIR/cross
CROSS_TOOLS=$CARGO_TARGET_DIR/cross-tools

rust_target() {
    case $1 in
    x86_64 | aarch64 | mips | mipsel) printf '%s-unknown-linux-musl\n' "$1" ;;
    *) fail "unknown architecture '$1': x86_64, aarch64, mipsel or mips" ;;
    esac
}

need_cross() {
    need cc:gcc /usr/include/stdlib.h:libc6-dev qemu-mipsel-static:qemu-user-static python3:python3
    need_debian_rust cargo-web rustc-web rust-web-src
    python3 -c 'import ensurepip' 2>/dev/null || need_packages python3-venv
    if [ ! -x "$CROSS_TOOLS/bin/cargo-zigbuild" ]; then
        say "installing zig and cargo-zigbuild into $CROSS_TOOLS"
        python3 -m venv "$CROSS_TOOLS"
        "$CROSS_TOOLS/bin/pip" install --quiet --disable-pip-version-check ziglang cargo-zigbuild
    fi
}

# cross ARCHITECTURE SUBCOMMAND ARGUMENTS ...: cargo for a router. SUBCOMMAND is zigbuild or test (under qemu-user).
# PANIC is abort unless the caller says unwind (tests, and what OpenWrt forces).
cross() {
    local architecture=$1 subcommand=$2 target upper
    shift 2
    target=$(rust_target "$architecture")
    upper=$(printf '%s' "$target" | tr 'a-z-' 'A-Z_')
    env PATH="$CROSS_TOOLS/bin:$PATH" \
        CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$CROSS_TARGET_DIR${CROSS_VARIANT:+-$CROSS_VARIANT}" \
        RUSTFLAGS="-C link-self-contained=no -C relocation-model=static -C target-feature=+crt-static ${EXTRA_RUSTFLAGS:-}" \
        "CARGO_TARGET_${upper}_RUNNER=qemu-$architecture-static" \
        cargo-zigbuild "$subcommand" --locked --target "$target" -Z "build-std=std,panic_${PANIC:-abort}" "$@"
}

# Folder of the release programs that `cross` makes for an architecture [in a variant].
cross_built() { printf '%s/%s/release\n' "$CROSS_TARGET_DIR${2:+-$2}" "$(rust_target "$1")"; }
