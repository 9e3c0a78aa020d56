# One set of objects, two libraries: libredisroute.so to link with, and the same under hiredis'
# SONAME to preload.

file(GLOB core_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/lib/*/*.c")
list(FILTER core_sources EXCLUDE REGEX "/lib/socket/")
if(REDISROUTE_TLS)
    list(FILTER core_sources EXCLUDE REGEX "/tls_none\\.c$")
else()
    list(FILTER core_sources EXCLUDE REGEX "/(openssl|tls_profile|link/tls)\\.c$")
endif()
file(GLOB socket_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/lib/socket/*.c")
list(FILTER socket_sources EXCLUDE REGEX "/hooks_[^/]*\\.c$")
list(APPEND socket_sources "${hiredis_hooks}.c")

# What knows nothing of hiredis; an archive, because the unit tests link with it alone.
add_library(redisroute_core STATIC ${core_sources})
add_library(redisroute_socket OBJECT ${socket_sources})
target_include_directories(redisroute_socket SYSTEM PRIVATE "${hiredis_include}")
# no-plt: the addresses of other libraries' functions are all there when the program starts (-z now).
foreach(target redisroute_core redisroute_socket)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_compile_options(${target} PRIVATE -fno-plt)
    target_link_libraries(${target} PUBLIC redisroute_flags)
endforeach()

target_include_directories(redisroute_core SYSTEM PRIVATE "${yaml_include}")
if(REDISROUTE_TLS)
    target_include_directories(redisroute_core SYSTEM PRIVATE "${openssl_include}")
endif()
target_link_libraries(redisroute_core PUBLIC "${yaml_library}")

function(redisroute_library target)
    add_library(${target} SHARED
        $<TARGET_OBJECTS:redisroute_core> $<TARGET_OBJECTS:redisroute_socket>)
    target_link_libraries(${target}
        PRIVATE redisroute_flags -Wl,--whole-archive "${hiredis_copy}" -Wl,--no-whole-archive
        "${yaml_library}")
    add_dependencies(${target} hiredis_ready)
    list(TRANSFORM hiredis_wraps PREPEND -Wl,--wrap= OUTPUT_VARIABLE wraps)
    # Functions only: a program may hold the one copy of a data object (hiredisAllocFns).
    # nodelete: the keeper's thread lives on when a plugin host closes what brought the library in.
    target_link_options(${target} PRIVATE ${wraps} "-Wl,--version-script=${exports_script}"
        -Wl,-Bsymbolic-functions -Wl,-z,nodelete -Wl,-z,defs -Wl,-z,relro -Wl,-z,now)
    set_target_properties(${target} PROPERTIES LINKER_LANGUAGE C
        LINK_DEPENDS "${hiredis_copy};${exports_script}")
endfunction()

redisroute_library(redisroute)
set_target_properties(redisroute PROPERTIES
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
    LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")

redisroute_library(redisroute_preload)
target_link_options(redisroute_preload PRIVATE "-Wl,-soname,${hiredis_soname}")
set_target_properties(redisroute_preload PROPERTIES
    PREFIX "" OUTPUT_NAME "${hiredis_soname}" SUFFIX "" NO_SONAME ON
    LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/preload")

# --- hiredis' TLS, where it has any: the same once more for libhiredis_ssl ---

if(hiredis_ssl_archive)
    add_library(redisroute_ssl_hooks OBJECT "${PROJECT_SOURCE_DIR}/lib/socket/hooks_ssl.c")
    target_include_directories(redisroute_ssl_hooks SYSTEM PRIVATE
        "${hiredis_include}" "${openssl_include}")
    set_target_properties(redisroute_ssl_hooks PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_link_libraries(redisroute_ssl_hooks PUBLIC redisroute_flags)
    find_library(openssl_ssl NAMES ssl REQUIRED)
    find_library(openssl_crypto NAMES crypto REQUIRED)
    mark_as_advanced(openssl_ssl openssl_crypto)

    function(redisroute_ssl_library target)
        add_library(${target} SHARED $<TARGET_OBJECTS:redisroute_ssl_hooks>)
        target_link_libraries(${target} PRIVATE redisroute_flags
            -Wl,--whole-archive "${hiredis_ssl_copy}" -Wl,--no-whole-archive ${ARGN}
            "${openssl_ssl}" "${openssl_crypto}")
        add_dependencies(${target} hiredis_ssl_ready)
        target_link_options(${target} PRIVATE "-Wl,--version-script=${hiredis_ssl_exports}"
            -Wl,-Bsymbolic-functions -Wl,-z,nodelete -Wl,-z,relro -Wl,-z,now)
        set_target_properties(${target} PROPERTIES LINKER_LANGUAGE C
            LINK_DEPENDS "${hiredis_ssl_copy};${hiredis_ssl_exports}")
    endfunction()

    redisroute_ssl_library(redisroute_ssl redisroute)
    set_target_properties(redisroute_ssl PROPERTIES
        VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
        LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")

    # Its hiredis is the program's own, as that of the library whose name it has.
    redisroute_ssl_library(redisroute_ssl_preload)
    target_link_options(redisroute_ssl_preload PRIVATE "-Wl,-soname,${hiredis_ssl_soname}")
    set_target_properties(redisroute_ssl_preload PROPERTIES
        PREFIX "" OUTPUT_NAME "${hiredis_ssl_soname}" SUFFIX "" NO_SONAME ON
        LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/preload")
endif()
