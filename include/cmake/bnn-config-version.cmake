# Which versions of bnn this one may stand for: those up to it with the same first two numbers. tests/header.rs compares the number with Cargo.toml's.

set(PACKAGE_VERSION "0.1.0")
string(REGEX REPLACE "^([0-9]+\\.[0-9]+).*" "\\1" _bnn_series "${PACKAGE_VERSION}")
if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
  set(PACKAGE_VERSION_EXACT TRUE)
endif()
if("${PACKAGE_FIND_VERSION}" VERSION_LESS_EQUAL PACKAGE_VERSION AND "${PACKAGE_FIND_VERSION_MAJOR}.${PACKAGE_FIND_VERSION_MINOR}" VERSION_EQUAL _bnn_series)
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
