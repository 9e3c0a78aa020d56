# How everything of ours is compiled: the libraries and their tests. hiredis' own code is not.

add_library(redisroute_flags INTERFACE)
target_compile_features(redisroute_flags INTERFACE c_std_11)
target_compile_definitions(redisroute_flags INTERFACE _GNU_SOURCE=)
# gcc guesses at what is uninitialized, and with sanitizers it guesses wrong: that one only warns.
target_compile_options(redisroute_flags INTERFACE
    -fvisibility=hidden -Wall -Wextra -Wmissing-prototypes -Wstrict-prototypes -Wshadow
    -Wswitch-enum
    "$<$<BOOL:${REDISROUTE_WERROR}>:-Werror;-Wno-error=maybe-uninitialized>")
target_include_directories(redisroute_flags INTERFACE
    "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/lib")
target_link_libraries(redisroute_flags INTERFACE Threads::Threads)

if(REDISROUTE_SANITIZE)
    set(sanitize -fsanitize=${REDISROUTE_SANITIZE} -fno-omit-frame-pointer -g)
    if(REDISROUTE_SANITIZE MATCHES "undefined")
        # A finding that only prints would pass the tests.
        list(APPEND sanitize -fno-sanitize-recover=undefined)
    endif()
    target_compile_options(redisroute_flags INTERFACE ${sanitize})
    target_link_options(redisroute_flags INTERFACE ${sanitize})
endif()
