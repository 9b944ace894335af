# Sourced by the scripts beside it: --help shows the head of their own file, up to the first 'set'.

usage() {
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0"
}

check_option() { # the script's first argument, then the options that it knows
    given=$1
    shift
    case $given in
        -h | --help)
            usage
            exit 0
            ;;
        -*)
            for known; do
                [ "$given" != "$known" ] || return 0
            done
            usage >&2
            exit 2
            ;;
    esac
}
