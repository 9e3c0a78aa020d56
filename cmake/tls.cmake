# OpenSSL: its headers. libssl.so.3 itself is loaded by the process that wants TLS, when it does.

option(REDISROUTE_TLS "TLS, by OpenSSL 3" ON)
find_path(openssl_include NAMES openssl/ssl.h)
mark_as_advanced(openssl_include)
if(REDISROUTE_TLS AND NOT openssl_include)
    message(FATAL_ERROR "No OpenSSL headers found. On Debian and Ubuntu: apt-get install libssl-dev. "
        "Or configure with -Dopenssl_include=/folder/that/holds/openssl, or without TLS: "
        "-DREDISROUTE_TLS=OFF.")
endif()
