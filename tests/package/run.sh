#!/usr/bin/env bash
# One check of the package: run.sh CASE [ARGUMENT...]. CMakeLists.txt beside it sets the environment.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
prefix="$REFLEX_WORK_DIR/moved prefix" # with a space, as users have them
# shellcheck source=tests/package/configure.sh
. "$here/configure.sh"
# shellcheck source=tests/package/readme.sh
. "$here/readme.sh"

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

need() {
  command -v "$1" >/dev/null 2>&1 && return 0
  printf 'skipped: needs %s\n' "$1"
  exit 77
}

# fresh NAME: an empty folder for this check; prints its path.
fresh() {
  rm -rf "${REFLEX_WORK_DIR:?}/$1"
  mkdir -p "$REFLEX_WORK_DIR/$1"
  printf '%s' "$REFLEX_WORK_DIR/$1"
}

configure() {
  local source=$1 build=$2
  shift 2
  "$CMAKE" -S "$source" -B "$build" -G "$CMAKE_GENERATOR" -DCMAKE_MAKE_PROGRAM="$CMAKE_MAKE_PROGRAM" \
    -DCMAKE_C_COMPILER="$CC" -DCMAKE_CXX_COMPILER="$CXX" "$@"
}

# expect_output COMMAND...: the consumers print this line when what they computed is right.
expect_output() {
  local output
  output=$("$@") || fail "$1 exited with $?: $output"
  [ "$output" = "reflex-infer $REFLEX_VERSION: norm agrees" ] || fail "unexpected output: $output"
}

# A header must stand alone and be clean at the strictest warnings: with the build's compiler, and with clang where there is
# one, in C++ without exceptions and RTTI, too.
case_header() {
  local standard=$1 language=c headers=(infer.h) compilers=("$CC" clang) options=("")
  case $standard in
    c++*)
      language=c++ headers=(infer.h infer.hpp) compilers=("$CXX" clang++)
      options+=("-fno-exceptions -fno-rtti")
      ;;
  esac
  local compiler header option
  for compiler in "${compilers[@]}"; do
    command -v "$compiler" >/dev/null 2>&1 || continue
    for header in "${headers[@]}"; do
      for option in "${options[@]}"; do
        # shellcheck disable=SC2086 # an option is a list of words
        printf '#include <reflex/%s>\n#include <reflex/%s>\nint main(void) { return 0; }\n' "$header" "$header" \
          | "$compiler" -x "$language" -std="$standard" -Wall -Wextra -Wconversion -Werror -pedantic $option \
            -fsyntax-only -I "$REFLEX_SOURCE_DIR/include" - || fail "$header as $standard with $compiler $option"
      done
    done
  done
}

case_install() {
  local first
  first=$(fresh 'first prefix')
  rm -rf "$prefix"
  "$CMAKE" --install "$REFLEX_BUILD_DIR" --prefix "$first"
  mv "$first" "$prefix"
  local name
  for name in infer.h infer.hpp api.json; do
    cmp "$REFLEX_SOURCE_DIR/include/reflex/$name" "$prefix/include/reflex/$name" || fail "$name is not installed"
  done
  # The three names of a versioned library are one file and two links to it.
  local lib
  lib=$(dirname "$(find "$prefix" -name "libreflex_infer.so.$REFLEX_VERSION" -type f)")
  [ "$(readlink "$lib/$REFLEX_SONAME")" = "libreflex_infer.so.$REFLEX_VERSION" ] || fail "$REFLEX_SONAME is not a link to the library"
  [ "$(readlink "$lib/libreflex_infer.so")" = "$REFLEX_SONAME" ] || fail "libreflex_infer.so is not a link to $REFLEX_SONAME"
}

installed() {
  find "$prefix" -name "$1" | head -n 1
}

# Not every distribution has the static C library.
need_static_libc() {
  printf 'int main(void) { return 0; }\n' >"$REFLEX_WORK_DIR/static.c"
  "$CC" -static "$REFLEX_WORK_DIR/static.c" -o "$REFLEX_WORK_DIR/static" 2>/dev/null && return 0
  printf 'skipped: %s cannot link with -static here\n' "$CC"
  exit 77
}

expect_no_loader() {
  need readelf
  if readelf -lW "$1" | grep -q INTERP; then fail "$1 is not linked statically"; fi
}

case_find_package() {
  local build
  [ "$2" != whole_static ] || need_static_libc
  build=$(fresh "find_package-$1-$2")
  configure "$here/consumer" "$build" -DCMAKE_PREFIX_PATH="$prefix" -DCONSUMER_LANGUAGE="$1" -DCONSUMER_LINK="$2"
  "$CMAKE" --build "$build"
  if [ "$2" = static ] && command -v readelf >/dev/null; then
    readelf -d "$build/consumer" | grep -q libreflex_infer && fail "the static consumer needs the shared library"
  fi
  [ "$2" != whole_static ] || expect_no_loader "$build/consumer"
  expect_output "$build/consumer"
}

case_pkg_config() {
  need pkg-config
  local build flags lib source=$here/consumer/consumer.c compiler=$CC
  build=$(fresh "pkg_config-$1-$2")
  lib=$(dirname "$(installed libreflex_infer.a)")
  [ "$1" = c ] || { source=$here/consumer/consumer.cpp compiler="$CXX -std=c++17"; }
  [ "$2" != whole_static ] || { need_static_libc && compiler="$compiler -static"; }
  local options=(--cflags --libs)
  if [ "$2" != shared ]; then
    options+=(--static)
    # A linker takes the shared library where it finds both: leave it only the other.
    mkdir "$build/lib"
    cp -r "$lib/pkgconfig" "$lib/libreflex_infer.a" "$build/lib/"
    cp -r "$prefix/include" "$build/include"
    lib=$build/lib
  fi
  flags=$(PKG_CONFIG_PATH="$lib/pkgconfig" pkg-config "${options[@]}" reflex-infer)
  # pkg-config escapes spaces for the shell, hence eval.
  eval "$compiler \"\$source\" -o \"\$build/consumer\" $flags"
  LD_LIBRARY_PATH="$lib" expect_output "$build/consumer"
  [ "$2" != whole_static ] || expect_no_loader "$build/consumer"
}

# A fully static program never opens the driver: it would get a second C library with it.
case_no_loader() {
  local build lib name link
  need_static_libc
  build=$(fresh no_loader)
  lib=$(dirname "$(installed libreflex_infer.a)")
  mkdir "$build/driver"
  for name in libcuda.so libcuda.so.1; do
    "$CC" -shared -fPIC "$here/fake_libcuda.c" -o "$build/driver/$name"
  done
  for link in -static -static-libgcc; do
    "$CC" "$link" -I "$prefix/include" "$here/consumer/no_loader.c" -o "$build/consumer$link" \
      "$lib/libreflex_infer.a" -lpthread -lm -ldl
  done
  LD_LIBRARY_PATH="$build/driver" expect_output "$build/consumer-static"
  # Else the line above would say nothing: this one opens the driver, which aborts.
  if LD_LIBRARY_PATH="$build/driver" "$build/consumer-static-libgcc" >/dev/null 2>&1; then
    fail "a dynamic program does not open the driver either"
  fi
}

find_version() {
  configure "$here/consumer" "$(fresh "version-$1")" -DCMAKE_PREFIX_PATH="$prefix" -DCONSUMER_LANGUAGE=c \
    -DCONSUMER_LINK=shared -DCONSUMER_VERSION="$1" >"$REFLEX_WORK_DIR/version-$1.log" 2>&1
}

case_accepts_version() {
  find_version "$REFLEX_VERSION" || fail "its own version is refused"
  find_version "${REFLEX_VERSION%.*}" || fail "its own major.minor is refused"
}

# Before 1.0 every minor version may break the ABI.
case_refuses_versions() {
  local major minor patch version
  IFS=. read -r major minor patch <<<"$REFLEX_VERSION"
  local wrong=(99.0 "$((major + 1)).0" "$major.$((minor + 1))" "$major.$minor.$((patch + 1))")
  [ "$major" -ne 0 ] || [ "$minor" -eq 0 ] || wrong+=("0.$((minor - 1))")
  for version in "${wrong[@]}"; do
    if find_version "$version"; then fail "a request for $version is accepted"; fi
    grep -q 'compatible with requested version\|requested version' "$REFLEX_WORK_DIR/version-$version.log" \
      || fail "a request for $version fails for another reason: $REFLEX_WORK_DIR/version-$version.log"
  done
}

case_no_build_paths() {
  local path found=0
  for path in "$REFLEX_SOURCE_DIR" "$REFLEX_BUILD_DIR" "$REFLEX_CARGO_TARGET_DIR" "$REFLEX_WORK_DIR" \
    "${CARGO_HOME:-$HOME/.cargo}" "${RUSTUP_HOME:-$HOME/.rustup}"; do
    if grep -rlaF -- "$path/" "$prefix"; then
      grep -rahoE -- "$path/[[:print:]]{0,60}" "$prefix" | sort -u | head -n 5
      found=1
    fi
  done
  [ $found -eq 0 ] || fail "the files above hold a path of the build"
}

case_exports() {
  need nm
  local names
  names=$(nm -D --defined-only "$(installed libreflex_infer.so)" | awk '{print $NF}' | sed 's/@.*//')
  [ -n "$names" ] || fail "the library exports nothing"
  grep -v '^reflex_[a-z0-9_]*$' <<<"$names" && fail "the names above are exported too"
  return 0
}

# Only the C runtime: the library opens libcuda by itself where there is one.
case_needed_libraries() {
  need readelf
  local dynamic needed
  dynamic=$(readelf -d "$(installed libreflex_infer.so)")
  grep -q "SONAME.*\[$REFLEX_SONAME\]" <<<"$dynamic" || fail "SONAME is not $REFLEX_SONAME"
  grep -E 'RPATH|RUNPATH' <<<"$dynamic" && fail "the library carries a search path"
  needed=$(sed -n 's/.*NEEDED.*\[\(.*\)\]/\1/p' <<<"$dynamic")
  grep -vE '^(libc|libm|libdl|libpthread|librt|libgcc_s|ld-linux[a-z0-9-]*)\.so\.[0-9]+$' <<<"$needed" && fail "the library needs those above"
  return 0
}

# README.md says which C library the package needs; it is the one of the building machine, but no newer than this.
case_glibc() {
  need objdump
  local newest said
  newest=$(objdump -T "$(installed libreflex_infer.so)" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
  said=$(sed -n 's/.*glibc \([0-9]*\.[0-9]*\) or later.*/GLIBC_\1/p' "$REFLEX_SOURCE_DIR/README.md" | head -n 1)
  [ -n "$newest" ] && [ -n "$said" ] || fail "no version: the library needs \"$newest\", README.md says \"$said\""
  [ "$(printf '%s\n' "$newest" "$said" | sort -V | tail -n 1)" = "$said" ] || fail "the library needs $newest, README.md says $said"
}

# Every page that an installed header refers to is installed.
case_documents() {
  local name names folder
  names=$(grep -rhoE 'docs/[a-z0-9-]+\.md' "$prefix/include" | sort -u)
  [ -n "$names" ] || fail "the headers refer to no page"
  folder=$(dirname "$(installed packed-weights.md)")
  [ "${folder#"$prefix"/}" = share/doc/reflex-infer ] || fail "the pages lie in $folder"
  for name in $names docs/abi.md; do
    cmp "$REFLEX_SOURCE_DIR/$name" "$folder/${name#docs/}" || fail "$name is not installed"
  done
}

case_add_subdirectory() {
  local build settings
  build=$(fresh add_subdirectory)
  IFS='|' read -ra settings <<<"$REFLEX_CUDA_SETTINGS"
  # Cargo's folder is shared with the build under test, which has already compiled the same thing.
  configure "$here/subdirectory" "$build" -DREFLEX_SOURCE_DIR="$REFLEX_SOURCE_DIR" "${settings[@]}" \
    -DREFLEX_CARGO_TARGET_DIR="$REFLEX_CARGO_TARGET_DIR" -DREFLEX_CARGO_PROFILE="$REFLEX_CARGO_PROFILE" 2>&1 | tee "$build/configure.txt"
  grep -q '^\(-- \)\?CUDA kernels: ' "$build/configure.txt" || fail "configure does not say which kernels there will be"
  "$CMAKE" --build "$build"
  expect_output "$build/consumer_shared"
  expect_output "$build/consumer_static"
  "$CMAKE" --install "$build" --prefix "$build/prefix"
  [ ! -e "$build/prefix/include" ] || fail "a subproject installs its headers without being asked to"
}

mkdir -p "$REFLEX_WORK_DIR"
"case_$1" "${@:2}"
