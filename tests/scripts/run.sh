# shellcheck shell=bash
# Runs and counts. Themes run in processes of their own, so that all accounts are files, in the folder $work:
# counts ("PASSED FAILED" a line), failures, times ("SECONDS THEME"), notes, left-out.

started=()
: "${work:?the folder of accounts}"
touch "$work"/{counts,failures,times,notes,left-out}

count() {
    echo "$1 $2" >>"$work/counts"
}

fail() {
    count 0 1
    echo "$1" >>"$work/failures"
}

# check COMMAND...: runs it, and counts it as one.
check() {
    echo "== $*"
    if "$@" </dev/null; then
        count 1 0
    else
        fail "$*"
    fi
}

# run_tests NAME COMMAND...: each test counted by what the runner says of it.
run_tests() {
    local name=$1 status=0 log bad
    shift
    echo "== $name"
    log=$(mktemp -p "$work")
    "$@" </dev/null 2>&1 | tee "$log" || status=$?
    bad=$(sum_of failed "$log")
    count "$(sum_of passed "$log")" "$bad"
    if ((bad > 0)); then
        echo "$bad of $name" >>"$work/failures"
    elif ((status != 0)); then
        fail "$name (exit code $status)"
    fi
}

# sum_of WORD LOG: the numbers in front of WORD in the runner's closing lines.
sum_of() {
    sed -nE "s/^test result: .* ([0-9]+) $1.*/\1/p" "$2" | awk '{ sum += $1 } END { print sum + 0 }'
}

# build_tests LIST ARGUMENTS...: has cargo build test programs; adds "FOLDER TARGET PROGRAM" of each to the list.
build_tests() {
    local list=$work/$1 messages
    shift
    messages=$(mktemp -p "$work")
    echo "== cargo $*"
    if cargo "$@" --locked --message-format=json-render-diagnostics </dev/null >"$messages"; then
        count 1 0
    else
        fail "cargo $*"
    fi
    sed -nE "s|.*\"manifest_path\":\"$PWD/(.*)/Cargo.toml\".*\"name\":\"([^\"]+)\",\"src_path\".*\"profile\":\{[^}]*\"test\":true\}.*\"executable\":\"([^\"]+)\".*|\1 \2 \3|p" \
        "$messages" >>"$list"
}

# run_target LIST FOLDER/TARGET ARGUMENTS...: what the list has of it, started where cargo would start it.
run_target() {
    local list=$work/$1 target=$2 programs folder name program
    shift 2
    mapfile -t programs < <(grep "^${target%/*} ${target##*/} " "$list")
    if ((${#programs[@]} == 0)); then
        fail "$target was not built"
    fi
    for program in "${programs[@]}"; do
        read -r folder name program <<<"$program"
        run_tests "$target${*:+ $*}" env -C "$folder" CARGO_MANIFEST_DIR="$PWD/$folder" "$program" "$@"
    done
}

# start COMMAND...: in a process group of its own, which ends with this script.
start() {
    set -m
    "$@" &
    set +m
    started+=($!)
}

# Brokers that are asked to end wait for their sessions; they are asked once.
end_started() {
    local group
    for group in "${started[@]}"; do
        if kill -- "-$group" 2>/dev/null; then
            sleep 1
            kill -KILL -- "-$group" 2>/dev/null || true
        fi
    done
}

# timed THEME COMMAND...
timed() {
    local name=$1 start=$SECONDS
    shift
    "$@"
    echo "$((SECONDS - start)) $name" >>"$work/times"
}

# take THEME...: runs those that no other process has taken, and prints what each said when it is through.
take() {
    local theme
    for theme; do
        if mkdir "$work/taken-$theme" 2>/dev/null; then
            echo "== $theme: running"
            timed "$theme" run_theme "$theme" >"$work/log-$theme" 2>&1
            printf '\n==== %s\n' "$theme"
            cat "$work/log-$theme"
        fi
    done
}

# A process that ends early takes its themes with it.
count_unfinished() {
    local theme
    for theme; do
        if ! grep -q " $theme\$" "$work/times"; then
            cat "$work/log-$theme" || true
            fail "$theme did not come to its end"
        fi
    done
}

# Tests that found a tool missing passed without having tested.
count_left_out() {
    local line
    while read -r line; do
        count -1 0
        skip "$line"
    done <"$STEADFAST_SKIPPED"
    if [[ -s $work/left-out && ${CI:-} == true ]]; then
        fail "with CI=true nothing may be left out"
    fi
}

# Ends with whether all is well.
summary() {
    local passed failed
    sed 's/^/note: /' "$work/notes"
    sed 's/^/left out: /' "$work/left-out"
    sed 's/^/failed: /' "$work/failures"
    echo "The slowest:"
    sort -rn "$work/times" | head -n 10 | awk '{ printf "%6d s  %s\n", $1, $2 }'
    read -r passed failed < <(awk '{ passed += $1; failed += $2 } END { print passed + 0, failed + 0 }' "$work/counts")
    echo "$passed passed, $failed failed"
    ((failed == 0))
}
