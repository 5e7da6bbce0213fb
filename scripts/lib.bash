# SPDX-License-Identifier: Apache-2.0
# Copyright the Portcullis authors
#
# Sourced by the other scripts: how they speak, and where things lie.

# shellcheck shell=bash
programs=(portcullisd portcullis-front portcullis-engine portcullis-auditor portcullis rexec rsh)
release=.build/release
# Debian packages that bring a daemon are never installed, only unpacked here (scripts/dependencies).
tools=.build/tools

if [ -t 1 ]; then bold=$'\e[1m' plain=$'\e[0m'; else bold='' plain=''; fi

# A step of the work, as the reader sees it.
step() { printf '%s==> %s%s\n' "$bold" "$*" "$plain"; }

# Something that the reader should know and that stops nothing.
note() { printf '    %s\n' "$*"; }

# An error: what is wrong, and what to do.
fail() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

# The path of a program: the host's, or one that was unpacked; empty where there is none.
find_program() {
    local directory
    for directory in /usr/bin /bin /usr/sbin /sbin "$tools"/usr/{sbin,bin} "$tools"/{sbin,bin}; do
        if [ -x "$directory/$1" ]; then
            printf '%s\n' "$directory/$1"
            return
        fi
    done
}
