# shellcheck shell=bash
# The themes of `./test`: name, what is in it, and its test targets as FOLDER/TARGET. Each target has one theme.

themes() {
    cat <<'END'
lints|clippy, documentation, the scripts, and whether every test target has a theme|
dependencies|licences, sources, bans and advisories|
fuzz|short runs of the fuzz targets|
machine|the protocol: profiles, scanner, ring, session machine, their simulation and vectors|profiles/steadfast_profiles protocol/steadfast_protocol protocol/simulation protocol/vectors
broker|the broker's units, its command line, and what its documents show|broker/steadfast broker/cli broker/control broker/deployments broker/documents broker/profiles kernel-socket/steadfast_kernel_socket
slow|slow is not dead, dead is left|tests/slow
fairness|nobody takes the broker from the others|tests/fairness
drain|drains and rolling deploys|tests/drain
failover|a backend dies: failovers, replays, poison, herds|tests/failover tests/failures tests/outage tests/poison tests/herd tests/hang_ups
chaos|everything goes wrong at random, and innocent sessions notice nothing|tests/chaos
resume|clients come back, and what is acknowledged|tests/reconnects tests/conversations tests/acks tests/ring
health|checks, agents, outliers|tests/health
proxy|the PROXY protocol on both sides, and what balancers in front are told|proxy-protocol/steadfast_proxy_protocol tests/proxy_protocol
balancing|which backend: rules, keys, cookies, routes, redirects, names and addresses|tests/balancing tests/sticky tests/redirect tests/routing tests/discovery tests/addresses tests/sources
reload|the configuration changes|tests/reload
operations|the admin listener, metrics, logs, start, stop, configurations to copy|tests/control tests/operations tests/startup tests/shutdown tests/examples
relay|messages and closes pass unchanged, compressed too|tests/relay tests/closing tests/compression
http|requests beside WebSocket: what passes, waits, fails and is refused|tests/http
handshake|upgrades and frames, good and bad; who is let in|tests/handshake tests/bad_upgrades tests/bad_frames tests/access tests/hops
conformance|the cases of the RFCs, Autobahn's, and other people's libraries|tests/conformance tests/third_party
profiles|clients of known protocols, on the libraries people use, notice nothing of a backend's end|tests/profiles
chains|Socket.IO, SockJS and pages as people build them, whole, by Steadfast, HAProxy and nginx|tests/chains
shim|steadfast.v1: the library, and the broker with it|client-shim/rust/steadfast_shim client-shim/rust/clients client-shim/rust/encrypted client-shim/rust/examples client-shim/rust/services tests/shim
encryption|TLS toward clients and backends, and Unix domain sockets|tests/tls
tls|the library again, built with TLS|
bench|the benchmarks' program|bench/steadfast-bench bench/harness
guard|instructions per message, beside the baseline's|
harness|what the end-to-end tests are made with, and how the sources hang together|tests/steadfast_tests tests/test-backend tests/test-recorder tests/harness tests/structure
END
}

# What `./test long` has, and how long it takes on two cores.
long_themes() {
    cat <<'END'
fuzz|ten minutes for each fuzz target
machine|a million schedules, or STEADFAST_SCHEDULES=FROM..TO; properties with PROPTEST_CASES, 20000
chaos|a quarter of an hour, or STEADFAST_CHAOS_SECONDS; STEADFAST_CHAOS_SEED repeats what happens, STEADFAST_CHAOS_TLS=1 encrypts
encryption|what testssl.sh says of versions and ciphers: a minute
http|a thousand clients while backends die, bodies of a GiB: two minutes
profiles|a thousand clients of each library, ten seconds without a backend: minutes
conformance|Autobahn's large messages too: minutes
END
}

theme_names() {
    themes | cut -d '|' -f 1
}

# theme_targets NAME...
theme_targets() {
    local name
    for name; do
        themes | sed -n "s/^$name|.*|//p" | tr ' ' '\n'
    done | grep . || true
}

usage() {
    cat <<'END'
./test                    everything
./test THEME...           formatting and these themes
./test long [THEME...]    the long versions, of all that have one or of these

END
    themes | awk -F '|' '{ printf "  %-13s %s\n", $1, $2 }'
    printf '\nLong versions:\n\n'
    long_themes | awk -F '|' '{ printf "  %-13s %s\n", $1, $2 }'
}

# The workspace's test targets, as in the list above.
test_targets() {
    cargo metadata --no-deps --locked --format-version 1 | tr '{' '\n' |
        sed -nE "s|.*\"name\":\"([^\"]+)\",\"src_path\":\"$PWD/(.*)/(src\|tests)/.*\"test\":true.*|\2/\1|p" | sort -u
}

# Whether each test target of the workspace is in one theme, and each that a theme names is there.
themes_hold_all_targets() {
    local names
    mapfile -t names < <(theme_names)
    diff --label "test targets" <(test_targets) --label "in themes.sh" <(theme_targets "${names[@]}" | sort) -U 0
}
