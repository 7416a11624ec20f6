# cmake -DSOURCE=<source tree> -DOUTPUT=<header> -P revision.cmake
# Writes the tree's revision into the header, at every build, but touches it only when the revision has changed, so that
# nothing is compiled anew for nothing.
execute_process(COMMAND git --no-optional-locks -C ${SOURCE} describe --always --dirty
                OUTPUT_VARIABLE revision OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT revision)
  set(revision unknown)
endif()
set(text "// Written by trainers/revision.cmake.\n#pragma once\n\n#define PLUMB_GIT_REVISION \"${revision}\"\n")
set(before "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} before)
endif()
if(NOT text STREQUAL before)
  file(WRITE ${OUTPUT} "${text}")
endif()
