# shellcheck shell=bash
# README.md's "Link it" as it stands: its commands, its CMake lines, its program. Part of run.sh.

# readme_block LANGUAGE: the blocks of that language under "Link it".
readme_block() {
  awk -v fence="\`\`\`$1" '
    /^## / { inside = $0 == "## Link it" }
    /^```/ { if (open) open = 0; else if (inside && $0 == fence) { open = 1; next } }
    open' "$REFLEX_SOURCE_DIR/README.md"
}

# A `cmake` that stands in front of the real one and adds what a test must have otherwise when the library is configured: the compilers
# and kernels under test, and the folder where cargo has built already.
write_cmake_in_front() {
  local settings
  IFS='|' read -ra settings <<<"$REFLEX_CUDA_SETTINGS"
  cat >"$1" <<EOF
#!/usr/bin/env bash
case \$1 in --build | --install) exec ${CMAKE@Q} "\$@" ;; esac
options=(-G ${CMAKE_GENERATOR@Q} -DCMAKE_MAKE_PROGRAM=${CMAKE_MAKE_PROGRAM@Q} -DCMAKE_C_COMPILER=${CC@Q} -DCMAKE_CXX_COMPILER=${CXX@Q})
case " \$* " in
  *' -S '*) ;;
  *) options+=(-S ${REFLEX_SOURCE_DIR@Q} -DREFLEX_CARGO_TARGET_DIR=${REFLEX_CARGO_TARGET_DIR@Q}
    -DREFLEX_CARGO_PROFILE=${REFLEX_CARGO_PROFILE@Q} -DREFLEX_BUILD_TESTS=OFF ${settings[*]@Q}) ;;
esac
exec ${CMAKE@Q} "\$@" "\${options[@]}"
EOF
  chmod +x "$1"
}

case_readme() {
  need pkg-config
  local work
  work=$(fresh readme)
  mkdir "$work/bin" "$work/engine"
  write_cmake_in_front "$work/bin/cmake"
  {
    printf 'cmake_minimum_required(VERSION 3.22)\nproject(engine LANGUAGES C CXX)\nadd_executable(my_engine main.cpp)\n'
    readme_block cmake
  } >"$work/engine/CMakeLists.txt"
  readme_block cpp >"$work/engine/main.cpp"
  readme_block sh | sed "s|/opt/reflex|$work/opt|g" >"$work/commands.sh"
  [ -s "$work/commands.sh" ] && [ -s "$work/engine/main.cpp" ] || fail "README.md has no commands and program under \"Link it\""
  (cd "$work" && PATH=$work/bin:$PATH bash -eux commands.sh) >"$work/log.txt" 2>&1 || {
    cat "$work/log.txt"
    fail "README.md's commands"
  }
  cat "$work/log.txt"
  grep -q '^\(-- \)\?CUDA kernels: ' "$work/log.txt" || fail "configure does not say which kernels there will be"
  # Linked by CMake's package and by pkg-config.
  [ "$(grep -c ': 1\.000000$' "$work/log.txt")" -eq 2 ] || fail "README.md's program should have run twice"
}
