# Builds the library with cargo and offers it as reflex::infer (shared) and reflex::infer_static.

if(NOT REFLEX_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "REFLEX_CUDA=${REFLEX_CUDA}: expected AUTO, ON or OFF")
endif()
if(NOT REFLEX_CARGO_PROFILE MATCHES "^(release|dev)$")
  message(FATAL_ERROR "REFLEX_CARGO_PROFILE=${REFLEX_CARGO_PROFILE}: expected release or dev")
endif()

find_program(REFLEX_CARGO cargo HINTS "$ENV{CARGO_HOME}/bin" "$ENV{HOME}/.cargo/bin" DOC "Rust's cargo")
if(NOT REFLEX_CARGO)
  message(FATAL_ERROR "reflex-infer needs cargo to build; install Rust from https://rustup.rs, or set REFLEX_CARGO")
endif()

set(_reflex_soversion ${PROJECT_VERSION_MAJOR})
if(PROJECT_VERSION_MAJOR EQUAL 0)
  set(_reflex_soversion 0.${PROJECT_VERSION_MINOR}) # before 1.0 every minor version may break the ABI
endif()
set(_reflex_lib_dir "${CMAKE_CURRENT_BINARY_DIR}/lib")
set(_reflex_shared libreflex_infer.so.${PROJECT_VERSION})
set(_reflex_soname libreflex_infer.so.${_reflex_soversion})
set(_reflex_static libreflex_infer.a)
set(_reflex_out "${REFLEX_CARGO_TARGET_DIR}/$<IF:$<STREQUAL:${REFLEX_CARGO_PROFILE},dev>,debug,release>")

string(REPLACE ";" "," _reflex_archs "${REFLEX_CUDA_ARCHS}") # a semicolon would split the argument
set(_reflex_environment
    "CARGO=${REFLEX_CARGO}" "CARGO_TARGET_DIR=${REFLEX_CARGO_TARGET_DIR}" "REFLEX_CUDA=${REFLEX_CUDA}"
    "REFLEX_CUDA_ARCHS=${_reflex_archs}")
if(REFLEX_CUDA_ROOT)
  list(APPEND _reflex_environment "REFLEX_CUDA_ROOT=${REFLEX_CUDA_ROOT}")
endif()

# The build script's own search, so that what it will find is known now and not only once everything is compiled.
execute_process(
  COMMAND
    ${CMAKE_COMMAND} -E env --unset=CARGO_BUILD_TARGET --unset=RUSTFLAGS --unset=CARGO_ENCODED_RUSTFLAGS ${_reflex_environment}
    "CARGO_TARGET_DIR=${CMAKE_CURRENT_BINARY_DIR}/probe" "${CMAKE_CURRENT_SOURCE_DIR}/cmake/cargo.sh" run --quiet --offline --locked
    --manifest-path cmake/probe/Cargo.toml
  RESULT_VARIABLE _reflex_probe_status
  OUTPUT_VARIABLE _reflex_kernels
  ERROR_VARIABLE _reflex_probe_error
  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_STRIP_TRAILING_WHITESPACE)
if(NOT _reflex_probe_status EQUAL 0)
  message(FATAL_ERROR "${_reflex_probe_error}")
elseif(_reflex_kernels MATCHES "NVRTC not found")
  # Nobody asked for this: it goes to stderr, where it stands out.
  message(NOTICE "${_reflex_kernels}. README.md says where to get it; REFLEX_CUDA=OFF says that none are wanted, ON makes this an error")
else()
  message(STATUS "${_reflex_kernels}")
endif()

# Cargo knows what is out of date, so it always runs; what depends on the library is rebuilt only when the copy changes.
add_custom_target(
  reflex_infer_cargo ALL
  COMMAND ${CMAKE_COMMAND} -E env ${_reflex_environment} "${CMAKE_CURRENT_SOURCE_DIR}/cmake/cargo.sh" build --lib --locked --profile
          ${REFLEX_CARGO_PROFILE}
  COMMAND ${CMAKE_COMMAND} -E make_directory "${_reflex_lib_dir}"
  COMMAND ${CMAKE_COMMAND} -E copy_if_different "${_reflex_out}/libreflex_infer.so" "${_reflex_lib_dir}/${_reflex_shared}"
  COMMAND ${CMAKE_COMMAND} -E copy_if_different "${_reflex_out}/${_reflex_static}" "${_reflex_lib_dir}/${_reflex_static}"
  COMMAND ${CMAKE_COMMAND} -E create_symlink ${_reflex_shared} "${_reflex_lib_dir}/${_reflex_soname}"
  COMMAND ${CMAKE_COMMAND} -E create_symlink ${_reflex_soname} "${_reflex_lib_dir}/libreflex_infer.so"
  BYPRODUCTS "${_reflex_lib_dir}/${_reflex_shared}" "${_reflex_lib_dir}/${_reflex_static}"
  COMMENT "Building reflex-infer with cargo"
  USES_TERMINAL VERBATIM)

# What Rust's standard library wants beside a static library: `rustc --print native-static-libs`, but for gcc_s. The compiler's driver
# adds libgcc_s by itself, or libgcc_eh with -static and -static-libgcc, where a libgcc_s does not exist.
set(_reflex_system_libs util rt pthread m dl c)

# The compiler's include path must not be "-isystem" for the project's own tests, hence no SYSTEM here.
add_library(reflex::infer SHARED IMPORTED GLOBAL)
set_target_properties(
  reflex::infer
  PROPERTIES IMPORTED_LOCATION "${_reflex_lib_dir}/${_reflex_shared}"
             IMPORTED_SONAME ${_reflex_soname}
             INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CURRENT_SOURCE_DIR}/include")
add_library(reflex::infer_static STATIC IMPORTED GLOBAL)
set_target_properties(
  reflex::infer_static
  PROPERTIES IMPORTED_LOCATION "${_reflex_lib_dir}/${_reflex_static}"
             IMPORTED_LINK_INTERFACE_LANGUAGES C
             INTERFACE_LINK_LIBRARIES "${_reflex_system_libs}"
             INTERFACE_INCLUDE_DIRECTORIES "${CMAKE_CURRENT_SOURCE_DIR}/include")
add_dependencies(reflex::infer reflex_infer_cargo)
add_dependencies(reflex::infer_static reflex_infer_cargo)
