# cmake --install, and cpack -G DEB: three packages, each whole where it is alone.
set(WSP_DOCUMENTS README.md CHANGELOG.md CONTRIBUTING.md)
install(DIRECTORY schemas models data-manifests DESTINATION share/wsp COMPONENT ingest)
install(PROGRAMS tools/nnunet-to-wsp.py DESTINATION share/wsp/tools COMPONENT ingest)
install(DIRECTORY plans DESTINATION share/wsp COMPONENT train PATTERN phantom.sh EXCLUDE)
install(PROGRAMS plans/phantom.sh DESTINATION share/wsp/plans COMPONENT train)

# A tree below one prefix: the documents name these beside them, as in the source tree.
install(FILES ${WSP_DOCUMENTS} LICENSE DESTINATION share/doc/wsp COMPONENT documents)
install(DIRECTORY docs DESTINATION share/doc/wsp COMPONENT documents FILES_MATCHING PATTERN "*.md" PATTERN "*.png")
install(CODE [[
  foreach(name schemas models data-manifests plans tools)
    file(CREATE_LINK ../../wsp/${name} "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}/share/doc/wsp/${name}" SYMBOLIC)
  endforeach()
]] COMPONENT documents)

set(CPACK_PACKAGE_NAME wsp)
set(WSP_PACKAGE_CONTACT "WSP toolkit maintainers <wsp@localhost>" CACHE STRING "Who answers for the Debian packages")
set(CPACK_PACKAGE_CONTACT "${WSP_PACKAGE_CONTACT}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_NAME} built using CMake")  # CPack's word for none: each package has its own
set(CPACK_GENERATOR DEB)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_COMPONENTS_ALL)

# Debian's changelog names the version; CHANGELOG.md beside it has what is in.
string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC)

# wsp_package(COMPONENT PACKAGE SECTION SUMMARY TEXT): a Debian package of a component, with documents of its own. They
# are copies: no package may need another for a link.
function(wsp_package component package section summary text)
  set(doc share/doc/${package})
  set(rules COMPONENT ${component} EXCLUDE_FROM_ALL)
  install(FILES ${WSP_DOCUMENTS} LICENSE DESTINATION ${doc} ${rules})
  install(FILES cmake/package/copyright DESTINATION ${doc} ${rules})
  install(DIRECTORY docs DESTINATION ${doc} ${rules} FILES_MATCHING PATTERN "*.md" PATTERN "*.png")
  install(DIRECTORY schemas data-manifests plans DESTINATION ${doc} ${rules})
  install(FILES models/liver/README.md DESTINATION ${doc}/models/liver ${rules})
  set(changes ${PROJECT_BINARY_DIR}/package/${package}/changelog)
  file(WRITE ${changes} "${package} (${PROJECT_VERSION}) unstable; urgency=medium\n\n  * CHANGELOG.md has what is in.\n\n"
                        " -- ${CPACK_PACKAGE_CONTACT}  ${now}\n")
  execute_process(COMMAND ${WSP_GZIP} -9nf ${changes})
  install(FILES ${changes}.gz DESTINATION ${doc} ${rules})
  install(FILES cmake/package/lintian/${package} DESTINATION share/lintian/overrides ${rules})
  string(TOUPPER ${component} name)
  set(CPACK_DEBIAN_${name}_PACKAGE_NAME ${package} PARENT_SCOPE)
  set(CPACK_DEBIAN_${name}_PACKAGE_SECTION ${section} PARENT_SCOPE)
  # One package had it all before.
  set(CPACK_DEBIAN_${name}_PACKAGE_CONFLICTS wsp PARENT_SCOPE)
  set(CPACK_DEBIAN_${name}_PACKAGE_REPLACES wsp PARENT_SCOPE)
  set(CPACK_DEBIAN_${name}_DESCRIPTION "${summary}\n${text}" PARENT_SCOPE)
  set(CPACK_COMPONENTS_ALL ${CPACK_COMPONENTS_ALL} ${component} PARENT_SCOPE)
endfunction()

if(WSP_BUILD_INGEST OR WSP_BUILD_QA)
  wsp_package(ingest wsp-ingest science "liver CT exports to pseudonymous training datasets"
    "wsp-ingest reads DICOM, NIfTI and NRRD, finds or makes liver masks and\nwrites HDF5 shards; wsp-qa says what is wrong with a \
dataset, on one\npage; wsp-phantom makes synthetic cohorts.\n\nFor research only, no medical device.")
  set(CPACK_DEBIAN_INGEST_PACKAGE_DEPENDS python3)  # of nnunet-to-wsp.py, which is run where PyTorch is
endif()
if(WSP_BUILD_TRAIN)
  wsp_package(train wsp-train science "contrastive pretraining on liver CT, and its evaluation"
    "wsp-train pretrains encoders on the datasets of wsp-ingest, wsp-unet\ntrains liver networks, wsp-eval tells whether a \
pretraining helps to\ndiagnose.\n\nFor research only, no medical device.")
endif()
if(WSP_HAS_PYTHON)
  wsp_package(python python3-wsp python "datasets, loader and encoders of the WSP toolkit for Python"
    "import wsp gives datasets of wsp-ingest as NumPy, the loader of wsp-train\nfor PyTorch, trained encoders as modules, and \
the files that the\ncommands write.")
  math(EXPR next "${Python_VERSION_MINOR} + 1")
  set(python "python${Python_VERSION_MAJOR}")
  set(CPACK_DEBIAN_PYTHON_PACKAGE_DEPENDS
      "${python} (>= ${Python_VERSION_MAJOR}.${Python_VERSION_MINOR}), ${python} (<< ${Python_VERSION_MAJOR}.${next}), ${python}-numpy")
  set(CPACK_DEBIAN_PYTHON_PACKAGE_RECOMMENDS ${python}-torch)
  set(CPACK_DEBIAN_PYTHON_PACKAGE_SUGGESTS "${python}-pandas, ${python}-h5py")
endif()
include(CPack)
