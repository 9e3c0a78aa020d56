# cmake --install: the libraries, the header, redisroute.pc and the CMake package.

include(CMakePackageConfigHelpers)
set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/redisroute")
set(package_build "${PROJECT_BINARY_DIR}/package")

# An application is compiled with the headers of the hiredis inside the library, and by whatever
# name it is used to: <hiredis.h> as hiredis.pc has it, or <hiredis/hiredis.h>. Headers that no
# package installed are installed here.
if(REDISROUTE_HIREDIS_SOURCE)
    file(GLOB hiredis_headers "${REDISROUTE_HIREDIS_SOURCE}/*.h")
    install(FILES ${hiredis_headers}
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/redisroute/hiredis")
    install(DIRECTORY "${REDISROUTE_HIREDIS_SOURCE}/adapters"
        DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/redisroute/hiredis")
    set(hiredis_installed "${CMAKE_INSTALL_INCLUDEDIR}/redisroute")
else()
    get_filename_component(hiredis_installed "${hiredis_include}" REALPATH)
endif()

install(TARGETS redisroute EXPORT redisrouteTargets
    LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
    INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        "${hiredis_installed}" "${hiredis_installed}/hiredis")
# In a folder of its own: found by those who name it, and never in place of the real one.
install(TARGETS redisroute_preload LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}/redisroute")
install(DIRECTORY include/redisroute DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
    FILES_MATCHING PATTERN "*.h")

# --- redisroute.pc: finds its prefix from where it lies, so that the tree may be moved ---

file(RELATIVE_PATH pc_prefix "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    set(pc_prefix "${CMAKE_INSTALL_PREFIX}")
else()
    set(pc_prefix "\${pcfiledir}/${pc_prefix}")
endif()
cmake_path(APPEND pc_libdir "\${prefix}" "${CMAKE_INSTALL_LIBDIR}")
cmake_path(APPEND pc_includedir "\${prefix}" "${CMAKE_INSTALL_INCLUDEDIR}")
cmake_path(APPEND pc_hiredis "\${prefix}" "${hiredis_installed}")
configure_file(pkgconfig/redisroute.pc.in "${package_build}/redisroute.pc" @ONLY)
install(FILES "${package_build}/redisroute.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

if(hiredis_ssl_archive)
    configure_file(pkgconfig/redisroute_ssl.pc.in "${package_build}/redisroute_ssl.pc" @ONLY)
    install(FILES "${package_build}/redisroute_ssl.pc"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
    install(TARGETS redisroute_ssl EXPORT redisrouteTargets
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
    install(TARGETS redisroute_ssl_preload
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}/redisroute")
endif()

# --- find_package(redisroute) ---

# What hiredis.pc asks of its users.
target_compile_definitions(redisroute INTERFACE _FILE_OFFSET_BITS=64)
configure_package_config_file(cmake/redisrouteConfig.cmake.in
    "${package_build}/redisrouteConfig.cmake" INSTALL_DESTINATION "${package_folder}")
write_basic_package_version_file("${package_build}/redisrouteConfigVersion.cmake"
    COMPATIBILITY SameMajorVersion)
install(FILES "${package_build}/redisrouteConfig.cmake"
    "${package_build}/redisrouteConfigVersion.cmake" DESTINATION "${package_folder}")
install(EXPORT redisrouteTargets NAMESPACE redisroute:: DESTINATION "${package_folder}")
