# Turns schemas/codes.json, the one list of codes, into codes.inc: WSP_CODE(NAME, kind, "meaning", "remedy").
function(wsp_generate_codes json_file output)
  file(READ ${json_file} text)
  string(JSON count LENGTH "${text}" codes)
  math(EXPR last "${count} - 1")
  set(lines "")
  foreach(i RANGE ${last})
    string(JSON entry GET "${text}" codes ${i})
    foreach(field code kind meaning remedy)
      string(JSON ${field} GET "${entry}" ${field})
    endforeach()
    string(APPEND lines "WSP_CODE(${code}, ${kind}, \"${meaning}\", \"${remedy}\")\n")
  endforeach()
  file(CONFIGURE OUTPUT ${output} CONTENT "${lines}" @ONLY)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${json_file})
endfunction()

# Embeds text files as string literals: wsp_embed(OUTPUT.cpp FUNCTION FILE...), FUNCTION(name) -> text.
function(wsp_embed output function)
  set(entries "")
  foreach(file ${ARGN})
    file(READ ${file} text)
    get_filename_component(name ${file} NAME)
    string(APPEND entries "  if (name == \"${name}\") return R\"WSPTEXT(${text})WSPTEXT\";\n")
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  endforeach()
  file(CONFIGURE OUTPUT ${output} @ONLY CONTENT
"#include <string_view>
namespace wsp {
std::string_view ${function}(std::string_view name);
std::string_view ${function}(std::string_view name) {
${entries}  return {};
}
}  // namespace wsp
")
endfunction()
