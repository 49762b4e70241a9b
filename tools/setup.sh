# Sourced by ./run and ./test: Debian packages and build folders. Says what it does on stderr, stdout is the caller's.
# Expects `root`, the repository's absolute path. Changes no working directory: relative arguments keep their meaning.

say() { printf 'inkstone: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# packages [all]: the names in packages.txt without a star, or all of them.
packages() {
  local name only here
  here=$(dpkg --print-architecture 2>/dev/null) || here=
  while read -r name only _; do
    case $only in '['*']') [ "$only" = "[$here]" ] || continue ;; esac
    case $name in
      '' | '#'*) ;;
      *'*') if [ "${1:-}" = all ]; then printf '%s\n' "${name%'*'}"; fi ;;
      *) printf '%s\n' "$name" ;;
    esac
  done <"$root/packages.txt"
}

missing_packages() {
  local name status
  for name in $(packages "$@"); do
    status=$(dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null) || status=
    case $status in i*) ;; *) printf '%s ' "$name" ;; esac
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then DEBIAN_FRONTEND=noninteractive "$@"; else sudo DEBIAN_FRONTEND=noninteractive "$@"; fi
}

# install_packages [all]: installs what is missing. A stamp holds packages.txt's checksum, so that later starts ask
# nothing; a configuration that fails drops the stamps, in case somebody removed a package since.
install_packages() {
  local stamp="$root/build/.packages${1:+-$1}" sum missing
  sum=$(cksum <"$root/packages.txt")
  if [ -f "$stamp" ] && [ "$(<"$stamp")" = "$sum" ]; then return; fi
  if command -v dpkg-query >/dev/null; then
    missing=$(missing_packages "$@")
    # shellcheck disable=SC2086
    if [ -n "$missing" ]; then apt_install $missing; fi
  else
    say "no dpkg here: taking it that what packages.txt names is installed"
  fi
  mkdir -p "$root/build"
  printf '%s\n' "$sum" >"$stamp"
}

apt_install() {
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
    die "packages are missing, and here is neither root nor sudo. As root: apt-get install --no-install-recommends $*"
  say "installing packages: $*"
  local install=(apt-get install -y -q --no-install-recommends "$@")
  # The lists may be there already; only when they do not name a package, or are too old, is an update worth its time.
  if "${install[@]}" --dry-run >/dev/null 2>&1 && as_root "${install[@]}" >&2 </dev/null; then return; fi
  as_root apt-get update -q >&2 </dev/null || die "apt-get update failed"
  as_root "${install[@]}" >&2 </dev/null || die "apt-get could not install: $*"
}

# configured PRESET: whether its build folder was made here. One that was copied or moved names the old place in its
# cache: cmake refuses it, or builds the old place's sources.
configured() {
  local dir="$root/build/$1"
  [ -f "$dir/build.ninja" ] && [ -f "$dir/CMakeCache.txt" ] &&
    grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$dir/CMakeCache.txt" &&
    grep -qxF "CMAKE_CACHEFILE_DIR:INTERNAL=$dir" "$dir/CMakeCache.txt"
}

# ccache fails the build where it has no home to write to (service accounts, containers).
home_for_ccache() {
  local cache=${CCACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-}/.cache}}
  [ -e "$cache" ] || cache=${HOME:-}
  if [ -z "$cache" ] || [ ! -w "$cache" ]; then export CCACHE_DIR=$root/build/.ccache; fi
}

# build PRESET TARGETS...: configures where needed and builds. Prints nothing when there is nothing to do.
build() {
  local preset=$1 dir="$root/build/$1"
  shift
  export CCACHE_BASEDIR=$root CCACHE_NOHASHDIR=true  # objects serve every clone
  home_for_ccache
  mkdir -p "$root/build" && [ -w "$root/build" ] ||
    die "$root/build: found a folder that this user may not write to, expected one to build in"
  exec {lock}>"$root/build/.lock"  # two starts at once: the second waits for the first one's build
  flock "$lock"
  if ! configured "$preset"; then
    [ ! -e "$dir" ] || say "build/$preset is unfinished or was made in another folder: starting it afresh"
    rm -rf "$dir"
    say "configuring build/$preset"
    if ! (cd "$root" && cmake --preset "$preset") >"$dir.log" 2>&1 </dev/null; then
      cat "$dir.log" >&2
      rm -f "$root"/build/.packages*
      die "cmake failed"
    fi
  fi
  ninja -C "$dir" "$@" </dev/null 2>&1 | quiet_ninja >&2 || die "the build of build/$preset failed"
  exec {lock}>&-
}

# Leaves out what ninja says when there is nothing to build.
quiet_ninja() {
  sed -u -e '/^ninja: Entering directory/d' -e '/^ninja: no work to do\.$/d' -e '/Re-checking globbed directories/d'
}
