# libyaml, which reads the configuration file: yaml_library, yaml_include.

find_library(yaml_library NAMES yaml)
find_path(yaml_include NAMES yaml.h)
mark_as_advanced(yaml_library yaml_include)
if(NOT yaml_library OR NOT yaml_include)
    message(FATAL_ERROR "No libyaml found. On Debian and Ubuntu: apt-get install libyaml-dev. "
        "Or configure with -Dyaml_library=/path/to/libyaml.so and -Dyaml_include=/folder/of/yaml.h.")
endif()
