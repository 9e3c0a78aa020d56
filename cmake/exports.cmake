# Run while building: writes the linker's version script TO, which exports the names that NM finds in
# FROM, and redisRoute…, and nothing else.

execute_process(COMMAND ${NM} "${FROM}" OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCHALL "[0-9a-f]+ [A-TV-Z] [A-Za-z0-9_]+" symbols "${symbols}")
list(TRANSFORM symbols REPLACE "^.* " "")
list(REMOVE_DUPLICATES symbols)
list(SORT symbols)
list(JOIN symbols ";\n    " symbols)
if(NOT symbols)
    message(FATAL_ERROR "${FROM} defines no symbols")
endif()
# Without a version name: Debian's hiredis gives its symbols none.
file(WRITE "${TO}" "{\nglobal:\n    ${symbols};\n    redisRoute*;\nlocal:\n    *;\n};\n")
