# cmake --install and cpack -G DEB
install(DIRECTORY ${PROJECT_SOURCE_DIR}/schemas ${PROJECT_SOURCE_DIR}/models ${PROJECT_SOURCE_DIR}/data-manifests ${PROJECT_SOURCE_DIR}/plans
        DESTINATION share/wsp USE_SOURCE_PERMISSIONS)
install(PROGRAMS ${PROJECT_SOURCE_DIR}/tools/nnunet-to-wsp.py DESTINATION share/wsp/tools)
install(FILES README.md LICENSE CHANGELOG.md CONTRIBUTING.md DESTINATION share/doc/wsp)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs DESTINATION share/doc/wsp FILES_MATCHING PATTERN "*.md" PATTERN "*.png")
# The documents name these beside them, as in the source tree.
install(CODE [[
  foreach(name schemas models data-manifests plans tools)
    file(CREATE_LINK ../../wsp/${name} "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/share/doc/wsp/${name}" SYMBOLIC)
  endforeach()
]])
set(CPACK_PACKAGE_NAME wsp)
set(CPACK_PACKAGE_CONTACT "WSP toolkit maintainers <wsp@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_GENERATOR DEB)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
if(WSP_HAS_PYTHON)
  set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "python3-numpy")
endif()
include(CPack)
