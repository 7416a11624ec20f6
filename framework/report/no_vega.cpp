// In place of the embedded Vega where libjs-vega was not installed when Plumb was built.
#include "core/error.h"
#include "report/report_page.h"

namespace plumb {

std::string_view vega_script() {
  fail_input(
      "this program was built without Vega, which draws the plots of `plumb report`; install the package "
      "libjs-vega "
      "(launch/setup.sh does), then configure and build again");
}

}  // namespace plumb
