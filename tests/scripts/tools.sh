# shellcheck shell=bash
# Installs what `./test` needs and keeps account of what cannot be had, in files of the folder $work. Sourced at the
# root of the tree; what is not a package of the system goes to .tools/ and to tests/third_party/node_modules/.

: "${work:?the folder of accounts}"
# Programs of the system that users have no path to by themselves, such as dnsmasq, included.
export PATH="$PWD/.tools/bin:$PATH:/usr/sbin"

# What is as it should be, though less than it could be.
note() {
    echo "$1" >>"$work/notes"
}

# What should have been done and was not.
skip() {
    echo "$1" >>"$work/left-out"
}

have() {
    command -v "$1" >/dev/null
}

# What everything else begins with.
install_basics() {
    install_components
    install_packages
}

# What the end-to-end tests talk with.
install_peers() {
    install_ws
    install_websockets
    install_browser
    install_autobahn
}

install_components() {
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt || true
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy || true
}

# Packages of the system, by the command that each brings.
install_packages() {
    local pair command missing=()
    for pair in c++:g++ curl:curl dnsmasq:dnsmasq-base haproxy:haproxy nginx:nginx node:nodejs npm:npm \
        openssl:openssl python3:python3 pip3:python3-pip redis-server:redis-server shellcheck:shellcheck strace:strace \
        valgrind:valgrind; do
        have "${pair%%:*}" || missing+=("${pair##*:}")
    done
    # Where Debian and others have it.
    ls /usr/lib*/nginx/modules/ngx_stream_module.so >/dev/null 2>&1 || missing+=(libnginx-mod-stream)
    if ((${#missing[@]} == 0)); then
        return 0
    fi
    if have apt-get && [[ $(id -u) == 0 ]]; then
        apt-get update -q </dev/null || true
        # Of daemons among them the programs are wanted, and none started.
        RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -qy "${missing[@]}" </dev/null || true
    fi
    for pair in c++:fuzzing dnsmasq:tests haproxy:tests nginx:tests node:tests npm:tests openssl:tests \
        python3:tests pip3:tests redis-server:tests shellcheck:"its check" strace:tests valgrind:tests; do
        command=${pair%%:*}
        have "$command" || skip "$command is missing and apt-get could not install it: ${pair##*:}"
    done
}

# Chromium, and what puts an authority into its store. Half of what they would bring along is for desktops.
install_browser() {
    local command
    if have chromium && have certutil; then
        return 0
    fi
    if have apt-get && [[ $(id -u) == 0 ]]; then
        apt-get update -q </dev/null || true
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends chromium libnss3-tools </dev/null || true
    fi
    for command in chromium certutil; do
        have "$command" || skip "$command is missing and apt-get could not install it: tests with a browser"
    done
}

install_testssl() {
    if ! have testssl && have apt-get && [[ $(id -u) == 0 ]]; then
        DEBIAN_FRONTEND=noninteractive apt-get install -qy testssl.sh </dev/null || true
    fi
}

install_deny() {
    install_cargo_tool cargo-deny 0.20.2
}

install_fuzz() {
    install_cargo_tool cargo-fuzz 0.13.2
}

# Built without optimization: that is three times faster, and they have little to do.
install_cargo_tool() {
    if have "$1"; then
        return 0
    fi
    echo "== building $1 $2, once"
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --debug --locked --root .tools "$1@$2" </dev/null ||
        skip "$1 cannot be installed"
}

# up_to_date FILE FOLDER: whether what FILE asks for was installed in FOLDER.
up_to_date() {
    cmp -s "$1" "$2/.installed"
}

install_ws() {
    local folder=tests/third_party
    if up_to_date $folder/package-lock.json $folder/node_modules || ! have npm; then
        return 0
    fi
    if npm ci --prefix $folder --no-audit --no-fund </dev/null; then
        cp $folder/package-lock.json $folder/node_modules/.installed
    else
        skip "npm's packages of tests/third_party cannot be installed"
    fi
}

install_websockets() {
    local list=tests/third_party/requirements.txt
    if up_to_date $list .tools/python || ! have python3; then
        return 0
    fi
    rm -rf .tools/python
    if python3 -m pip install -q --target .tools/python -r $list </dev/null; then
        cp $list .tools/python/.installed
    else
        skip "Python's packages of tests/third_party cannot be installed"
    fi
}

# Autobahn's own cases stand beside ours, which always run: a machine without Python 2.7 is no failure.
install_autobahn() {
    local list=tests/conformance/requirements.txt python
    if up_to_date $list .tools/autobahn; then
        return 0
    fi
    rm -rf .tools/autobahn
    if ! python=$(python27); then
        note "Autobahn's cases do not run: there is no Python 2.7 with pip; our own of the RFCs do"
    elif "$python" -m pip install -q --no-deps --target .tools/autobahn -r $list </dev/null; then
        ln -s "$python" .tools/autobahn/python2.7
        cp $list .tools/autobahn/.installed
    else
        rm -rf .tools/autobahn
        note "Autobahn's cases do not run: its packages cannot be installed; our own of the RFCs do"
    fi
}

# The path of a Python 2.7 that has pip.
python27() {
    local candidate
    for candidate in python2.7 "$HOME"/.pyenv/versions/2.7.*/bin/python2.7; do
        candidate=$(command -v "$candidate") || continue
        if "$candidate" -m pip --version >/dev/null 2>&1 </dev/null; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}
