#!/usr/bin/env bash
# copy-out.sh - copies one technique into a package that stands alone
#
# Usage: copy-out.sh NAME DIR
#
# DIR must not exist, or be empty. It becomes a Cargo package with
#
#   src/*.rs              the mechanism, as it is in crates/NAME/src
#   src/bin/receiver.rs   a small program for each end, which uses the mechanism and nothing else
#   src/bin/sender.rs       (crates/NAME/examples)
#   tests/mechanism.rs    a test that passes
#   NAME2/                a crate of this workspace that the mechanism uses, such as crates/ring, as a package inside
#   Cargo.toml            the dependencies that these files use, and no others
#   README.md, LICENSE-*  the lesson and the licences
#
# Nothing in it refers to this workspace: move it where you like. `cargo test` is the first thing to try.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "${BASH_SOURCE[0]%/*}/lib.sh"

while (($#)); do
    common_option "$@"
    ((shift_by)) || break
    shift "$shift_by"
done
(($# == 2)) || wrong_usage "a technique and a folder are needed"
name=$1
# A tilde that the shell left alone, as in `make copy TO=~/hw3` under dash.
dir=${2/#\~\//$HOME/}
[[ -n $name && -n $dir ]] || wrong_usage "a technique and a folder are needed"
need_technique "$name"
crate=$root/crates/$name

# Everything is checked before anything is made.
mechanism=()
for file in "$crate"/src/*.rs; do
    [[ ${file##*/} == lib.rs ]] || mechanism+=("$file")
done
for file in "$crate"/src/"${name//-/_}".rs "$crate"/examples/"$name"-plain-{sender,receiver}.rs \
    "$crate"/tests/mechanism.rs; do
    [[ -f $file ]] || die 1 "${file#"$root"/} is missing, so $name cannot be copied out"
done
if [[ -e $dir && ! -d $dir ]] || { [[ -d $dir ]] && [[ -n $(ls -A -- "$dir") ]]; }; then
    die 1 "$dir exists and is not an empty folder; nothing was copied"
fi
case $(realpath -m -- "$dir") in
    "$root"/crates/*) die 1 "every folder in crates/ is a member of this workspace; copy to somewhere else" ;;
esac

# plain END: the example program for one end, under its new name.
plain() {
    sed -e "s/-p $name --example $name-plain-$1/--bin $1/g" \
        -e "s/-p $name --example $name-plain-/--bin /g" \
        -e "s/$name-plain-//g" "$crate/examples/$name-plain-$1.rs"
}

# is_used CRATE DIR: does a copied file in DIR name it, and not in a comment only?
is_used() {
    find "$2" -name '*.rs' -exec sed 's|^ *//.*||' {} + | grep -w -e "${1//-/_}" >/dev/null
}

# manifest CRATE DIR: the manifest of crates/CRATE, less what belongs to the workspace or is not used by what was
# copied to DIR. A crate of this workspace is found in the copy.
manifest() {
    local crate=$root/crates/$1 dir=$2 line section='' keep=1 dependency
    while IFS= read -r line; do
        if [[ $line == \[* ]]; then
            section=$line
            case $section in
                '[package]' | '[features]' | '[lints.'* | '['*dependencies']') keep=1 ;;
                '['*dependencies.*']')
                    dependency=${section##*dependencies.}
                    keep=0
                    ! is_used "${dependency%]}" "$dir" || keep=1
                    ;;
                *) keep=0 ;;
            esac
        elif [[ $section == '['*dependencies']' && $line =~ ^([A-Za-z0-9_-]+)[[:space:]]*[.=] ]]; then
            keep=0
            if is_used "${BASH_REMATCH[1]}" "$dir" && [[ $line != *'"../common"'* ]]; then
                keep=1
                line=${line//\"..\//\"}
            fi
        elif [[ -z $line && $section == '['*dependencies']' ]]; then
            keep=1
        fi
        if ((keep)); then
            [[ $line != *workspace\ =* ]] ||
                die 1 "$crate/Cargo.toml: \"$line\" leans on the workspace; write the value out"
            printf '%s\n' "$line"
        fi
    done <"$crate/Cargo.toml" | awk '
        # A section that lost all its lines goes too.
        /^\[/ { header = $0; next }
        /^$/ { next }
        header { if (any++) print ""; print header; header = "" }
        { print }
    '
}

# Crates of this workspace that the copied mechanism uses.
shared_crates() {
    local dependency
    sed -n 's|^\([a-z0-9_-]*\) = { path = "\.\./\1" }$|\1|p' "$crate/Cargo.toml" | while read -r dependency; do
        if [[ $dependency != common ]] && is_used "$dependency" "$dir"; then
            printf '%s\n' "$dependency"
        fi
    done
}

readme() {
    cat <<END
# $name, a copy that stands alone

* \`src/${name//-/_}.rs\` is the mechanism: read it first.
$(shared_crates | sed "s|.*|* \`&/src\` is what it shares with other mechanisms: read it next.|")
* \`src/bin/receiver.rs\` and \`src/bin/sender.rs\` use it; the first lines of the receiver say how to run them.
* \`cargo test\` runs \`tests/mechanism.rs\`.

END
    if [[ -f $crate/README.md ]]; then
        cat <<END
What follows is the lesson from the workspace that this was copied from. The programs \`$name-sender\` and
\`$name-receiver\` that it runs are there.

---

END
        cat -- "$crate/README.md"
    fi
}

mkdir -p -- "$dir/src/bin" "$dir/tests"
cp -- "${mechanism[@]}" "$dir/src/"
plain sender >"$dir/src/bin/sender.rs"
plain receiver >"$dir/src/bin/receiver.rs"
cp -- "$crate/tests/mechanism.rs" "$dir/tests/"
{
    printf '//! The mechanism.\n\n'
    for file in "${mechanism[@]}"; do
        file=${file##*/}
        printf 'pub mod %s;\n' "${file%.rs}"
    done
} >"$dir/src/lib.rs"
manifest "$name" "$dir" >"$dir/Cargo.toml"
printf '\n# The root of its own workspace, even inside the tree of another one.\n[workspace]\n' >>"$dir/Cargo.toml"
for shared in $(shared_crates); do
    mkdir -- "$dir/$shared"
    cp -r -- "$root/crates/$shared/src" "$dir/$shared/"
    manifest "$shared" "$dir/$shared" >"$dir/$shared/Cargo.toml"
done
# The versions that were tested; cargo drops what is not needed.
cp -- "$root/Cargo.lock" "$root"/LICENSE-* "$dir/"
readme >"$dir/README.md"
printf '/target\n' >"$dir/.gitignore"

say "$name is in $dir; try: cd $(printf %q "$dir") && cargo test"
