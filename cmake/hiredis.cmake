# The hiredis that goes into the library: which one, and the copy of its archive whose system calls
# are ours.
#
#     libhiredis.a ──objcopy, lib/socket/seam_*.syms──> build/hiredis/libhiredis.a ──> library
#
# The references are renamed in a copy, and not wrapped by the linker, because the linker would
# rename those of our own objects too.

set(REDISROUTE_HIREDIS_ARCHIVE "" CACHE FILEPATH
    "The libhiredis.a to build in; empty: the system's")
set(REDISROUTE_HIREDIS_INCLUDE_DIR "" CACHE PATH
    "The folder that holds hiredis/hiredis.h; empty: looked for near the archive")
set(REDISROUTE_HIREDIS_SOURCE "" CACHE PATH
    "A folder with hiredis' sources, for systems without a libhiredis.a")
set(REDISROUTE_HIREDIS_SONAME "" CACHE STRING
    "The SONAME of the library to preload; empty: that of the libhiredis.so beside the archive")

set(hiredis_build "${PROJECT_BINARY_DIR}/hiredis")
file(MAKE_DIRECTORY "${hiredis_build}")

# --- which hiredis: hiredis_archive, hiredis_include, hiredis_library (may be empty) ---

function(hiredis_from_source)
    foreach(name alloc async hiredis net read sds sockcompat)
        if(EXISTS "${REDISROUTE_HIREDIS_SOURCE}/${name}.c")
            list(APPEND sources "${REDISROUTE_HIREDIS_SOURCE}/${name}.c")
        endif()
    endforeach()
    if(NOT EXISTS "${REDISROUTE_HIREDIS_SOURCE}/hiredis.h" OR NOT sources)
        message(FATAL_ERROR "REDISROUTE_HIREDIS_SOURCE: no hiredis sources in "
            "'${REDISROUTE_HIREDIS_SOURCE}' (hiredis.h, hiredis.c, async.c, …).")
    endif()
    add_library(hiredis_inside STATIC ${sources})
    target_compile_options(hiredis_inside PRIVATE -O2 -w)
    set_target_properties(hiredis_inside PROPERTIES
        OUTPUT_NAME hiredis POSITION_INDEPENDENT_CODE ON
        ARCHIVE_OUTPUT_DIRECTORY "${hiredis_build}/original")
    # Programs say <hiredis/hiredis.h>, whatever the folder is called.
    file(MAKE_DIRECTORY "${hiredis_build}/include")
    file(CREATE_LINK "${REDISROUTE_HIREDIS_SOURCE}" "${hiredis_build}/include/hiredis" SYMBOLIC)
    set(hiredis_archive "${hiredis_build}/original/libhiredis.a" PARENT_SCOPE)
    set(hiredis_include "${hiredis_build}/include" PARENT_SCOPE)
    set(hiredis_library "" PARENT_SCOPE)
endfunction()

function(hiredis_from_archive)
    set(options "Or configure with -DREDISROUTE_HIREDIS_ARCHIVE=/path/to/libhiredis.a, or with "
        "-DREDISROUTE_HIREDIS_SOURCE=/path/to/hiredis, a folder with hiredis' sources.")
    if(REDISROUTE_HIREDIS_ARCHIVE)
        if(NOT EXISTS "${REDISROUTE_HIREDIS_ARCHIVE}")
            message(FATAL_ERROR "REDISROUTE_HIREDIS_ARCHIVE: "
                "there is no file '${REDISROUTE_HIREDIS_ARCHIVE}'.")
        endif()
        set(archive "${REDISROUTE_HIREDIS_ARCHIVE}")
    else()
        find_library(system_archive NAMES libhiredis.a NO_CACHE)
        if(NOT system_archive)
            message(FATAL_ERROR "No libhiredis.a found. "
                "On Debian and Ubuntu: apt-get install libhiredis-dev. " ${options})
        endif()
        set(archive "${system_archive}")
    endif()
    get_filename_component(folder "${archive}" DIRECTORY)

    if(REDISROUTE_HIREDIS_INCLUDE_DIR)
        set(include "${REDISROUTE_HIREDIS_INCLUDE_DIR}")
    else()
        find_path(include hiredis/hiredis.h NO_CACHE
            HINTS "${folder}/../include" "${folder}/../../include")
    endif()
    if(NOT EXISTS "${include}/hiredis/hiredis.h")
        message(FATAL_ERROR "No hiredis/hiredis.h found for ${archive}. "
            "-DREDISROUTE_HIREDIS_INCLUDE_DIR names the folder that holds hiredis/hiredis.h.")
    endif()

    set(hiredis_library "")
    if(EXISTS "${folder}/libhiredis.so")
        set(hiredis_library "${folder}/libhiredis.so")
    endif()
    set(hiredis_archive "${archive}" PARENT_SCOPE)
    set(hiredis_include "${include}" PARENT_SCOPE)
    set(hiredis_library "${hiredis_library}" PARENT_SCOPE)
endfunction()

if(REDISROUTE_HIREDIS_SOURCE)
    hiredis_from_source()
else()
    hiredis_from_archive()
endif()

# --- its version and SONAME ---

function(hiredis_define name result)
    file(STRINGS "${hiredis_include}/hiredis/hiredis.h" line REGEX "#define ${name} ")
    string(REGEX REPLACE "#define ${name} +" "" value "${line}")
    string(STRIP "${value}" value)
    set(${result} "${value}" PARENT_SCOPE)
endfunction()

hiredis_define(HIREDIS_MAJOR hiredis_major)
hiredis_define(HIREDIS_MINOR hiredis_minor)
hiredis_define(HIREDIS_SONAME hiredis_soname)
set(hiredis_soname "libhiredis.so.${hiredis_soname}")
if(REDISROUTE_HIREDIS_SONAME)
    set(hiredis_soname "${REDISROUTE_HIREDIS_SONAME}")
elseif(hiredis_library)
    execute_process(COMMAND "${CMAKE_READELF}" -d "${hiredis_library}"
        OUTPUT_VARIABLE dynamic COMMAND_ERROR_IS_FATAL ANY)
    if(dynamic MATCHES "soname: \\[([^]]+)\\]")
        set(hiredis_soname "${CMAKE_MATCH_1}")
    endif()
endif()

# The hooks know its insides: another version is taken when its tests have passed.
set(hiredis_version "${hiredis_major}.${hiredis_minor}")
if(hiredis_version VERSION_EQUAL 0.14)
    set(hiredis_hooks hooks_0_14)
elseif(hiredis_version VERSION_GREATER_EQUAL 1.2 AND hiredis_version VERSION_LESS 1.6)
    set(hiredis_hooks hooks_1_2)
else()
    message(FATAL_ERROR "redisroute does not know hiredis ${hiredis_version} "
        "(${hiredis_archive}), but 0.14, and 1.2 to 1.5.")
endif()
set(hiredis_hooks "${PROJECT_SOURCE_DIR}/lib/socket/${hiredis_hooks}")
message(STATUS "hiredis ${hiredis_major}.${hiredis_minor}: ${hiredis_archive}, ${hiredis_soname}")

# --- the copy ---

set(hiredis_copy "${hiredis_build}/libhiredis.a")
set(seam_maps "${PROJECT_SOURCE_DIR}/lib/socket/seam_syscalls.syms"
    "${PROJECT_SOURCE_DIR}/lib/socket/seam_entries.syms")
list(TRANSFORM seam_maps PREPEND --redefine-syms= OUTPUT_VARIABLE redefine)
add_custom_command(OUTPUT "${hiredis_copy}"
    COMMAND "${CMAKE_OBJCOPY}" ${redefine} "${hiredis_archive}" "${hiredis_copy}"
    DEPENDS "${hiredis_archive}" ${seam_maps} $<$<TARGET_EXISTS:hiredis_inside>:hiredis_inside>
    COMMENT "Redirecting the system calls of ${hiredis_archive}" VERBATIM)

# References between the archive's own objects that the hooks answer; the linker's --wrap.
file(STRINGS "${hiredis_hooks}.wrap" hiredis_wraps REGEX "^[^#]")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${hiredis_hooks}.wrap")

# --- its TLS: hiredis_ssl_archive, hiredis_ssl_library, hiredis_ssl_soname; empty: it has none ---

set(hiredis_ssl_archive "")
set(hiredis_ssl_library "")
get_filename_component(hiredis_folder "${hiredis_archive}" DIRECTORY)
if(REDISROUTE_TLS AND NOT REDISROUTE_HIREDIS_SOURCE AND hiredis_library
   AND EXISTS "${hiredis_folder}/libhiredis_ssl.a" AND EXISTS "${hiredis_folder}/libhiredis_ssl.so"
   AND EXISTS "${hiredis_include}/hiredis/hiredis_ssl.h")
    set(hiredis_ssl_archive "${hiredis_folder}/libhiredis_ssl.a")
    set(hiredis_ssl_library "${hiredis_folder}/libhiredis_ssl.so")
    set(hiredis_ssl_copy "${hiredis_build}/libhiredis_ssl.a")
    set(hiredis_ssl_exports "${hiredis_build}/exports_ssl.map")
    set(hiredis_ssl_map "${PROJECT_SOURCE_DIR}/lib/socket/seam_ssl.syms")
    execute_process(COMMAND "${CMAKE_READELF}" -d "${hiredis_ssl_library}"
        OUTPUT_VARIABLE dynamic COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCH "soname: \\[([^]]+)\\]" dynamic "${dynamic}")
    set(hiredis_ssl_soname "${CMAKE_MATCH_1}")
    add_custom_command(OUTPUT "${hiredis_ssl_copy}"
        COMMAND "${CMAKE_OBJCOPY}" "--redefine-syms=${hiredis_ssl_map}" "${hiredis_ssl_archive}"
            "${hiredis_ssl_copy}"
        DEPENDS "${hiredis_ssl_archive}" "${hiredis_ssl_map}"
        COMMENT "Redirecting the handshake of ${hiredis_ssl_archive}" VERBATIM)
    add_custom_command(OUTPUT "${hiredis_ssl_exports}"
        COMMAND "${CMAKE_COMMAND}" "-DNM=${CMAKE_NM};-D;--defined-only" "-DFROM=${hiredis_ssl_library}"
            "-DTO=${hiredis_ssl_exports}" -P "${PROJECT_SOURCE_DIR}/cmake/exports.cmake"
        DEPENDS "${hiredis_ssl_library}" "${PROJECT_SOURCE_DIR}/cmake/exports.cmake"
        COMMENT "Listing what ${hiredis_ssl_library} exports" VERBATIM)
    add_custom_target(hiredis_ssl_ready DEPENDS "${hiredis_ssl_copy}" "${hiredis_ssl_exports}")
    message(STATUS "hiredis' TLS: ${hiredis_ssl_archive}, ${hiredis_ssl_soname}")
endif()

# --- what the library exports: hiredis' names, and redisRoute… ---

set(exports_script "${hiredis_build}/exports.map")
set(exports_source "${hiredis_archive}")
set(exports_nm -g --defined-only)
if(hiredis_library)
    set(exports_source "${hiredis_library}")
    set(exports_nm -D --defined-only)
endif()
add_custom_command(OUTPUT "${exports_script}"
    COMMAND "${CMAKE_COMMAND}" "-DNM=${CMAKE_NM};${exports_nm}" "-DFROM=${exports_source}"
        "-DTO=${exports_script}" -P "${PROJECT_SOURCE_DIR}/cmake/exports.cmake"
    DEPENDS "${exports_source}" "${PROJECT_SOURCE_DIR}/cmake/exports.cmake"
        $<$<TARGET_EXISTS:hiredis_inside>:hiredis_inside>
    COMMENT "Listing what ${exports_source} exports" VERBATIM)

add_custom_target(hiredis_ready DEPENDS "${hiredis_copy}" "${exports_script}")
