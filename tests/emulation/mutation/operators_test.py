"""Tests of operators.py."""

import unittest

import operators

KERNEL = """#include <cstdint>
// a + b < c
constexpr int kWords = 4;
template <class T>
__global__ void kernel(const T* x, T* y, int n, int row_stride) {
  const char* name = "a < b";
  for (int i = 0; i < n; ++i) {
    __syncthreads();
    y[i] = x[i + row * row_stride] * scale(i, n) * 0.5f + fmaxf(a, b) / (c - 1);
    copy_async_wait<1>();
  }
}
"""


def changes(operator: str, text: str = KERNEL, source: str = "kernel.cu") -> list[str]:
    return [one.after for one in operators.mutants_of(source, text) if one.operator == operator]


class Operators(unittest.TestCase):
    def test_comments_strings_and_preprocessor_lines_stay(self):
        for mutant in operators.mutants_of("kernel.cu", KERNEL):
            self.assertNotIn(mutant.line, (1, 2, 6))

    def test_template_brackets_are_no_comparisons(self):
        self.assertEqual(changes("comparison boundary"), ["for (int i = 0; i <= n; ++i) {"])

    def test_barriers(self):
        mutants = [one for one in operators.mutants_of("kernel.cu", KERNEL) if one.operator == "deleted barrier"]
        self.assertEqual([(one.before, one.after) for one in mutants],
                         [("__syncthreads();", ";"), ("copy_async_wait<1>();", ";")])

    def test_plus_and_minus(self):
        self.assertEqual(len(changes("plus and minus")), 3)

    def test_bounds_and_strides(self):
        found = changes("bound or stride")
        self.assertIn("for (int i = 0; i < n - 1; ++i) {", found)
        self.assertTrue(any(line.startswith("y[i + 1] = ") for line in found))
        self.assertTrue(any("row * (row_stride + 1)]" in line for line in found))

    def test_minima_and_maxima(self):
        self.assertTrue(all("fminf(a, b)" in line for line in changes("minimum and maximum")))
        self.assertEqual(len(changes("minimum and maximum")), 1)

    def test_constants(self):
        found = changes("constant")
        self.assertIn("constexpr int kWords = 3;", found)
        self.assertIn("for (int i = 1; i < n; ++i) {", found)
        self.assertTrue(any("* 1.0f +" in line for line in found))

    def test_dynamic_memory_that_no_kernel_has_is_no_place(self):
        text = 'launch({"sum", dim3(static_cast<unsigned>(n)), dim3(kThreads), 0, stream}, kernel, n);\n'
        self.assertEqual(changes("constant", text), [])
        self.assertEqual(len(changes("constant", text.replace(", 0, stream", ", 8, stream"))), 1)

    def test_launch_bounds_are_no_place(self):
        self.assertEqual(changes("constant", "__global__ void __launch_bounds__(kThreads, kSm == 80 ? 5 : 0)\n"), [])

    def test_sizes_of_arrays_stay(self):
        self.assertEqual(changes("bound or stride", "float sums[kRows], scratch[kRows];\n"), [])

    def test_equal_lines_have_places_of_their_own(self):
        found = operators.mutants_of("kernel.cu", "x += y;\nx += y;\n")
        self.assertEqual(len({one.place_in_draw(1) for one in found}), 2)

    def test_the_draw_of_a_line_does_not_depend_on_other_lines(self):
        def places(text: str) -> set[str]:
            return {one.place_in_draw(1) for one in operators.mutants_of("kernel.cu", text)}
        self.assertLess(places(KERNEL), places("int before = 3;\n" + KERNEL))

    def test_a_factor_goes_with_its_arguments(self):
        line = "y[i] = x[i + row * row_stride] * scale(i, n) * 0.5f + fmaxf(a, b) / (c - 1);"
        self.assertEqual(changes("dropped factor"), [
            line.replace(" * row_stride", ""), line.replace(" * scale(i, n)", ""), line.replace(" * 0.5f", ""),
            line.replace(" / (c - 1)", "")])

    def test_waits_and_collectives_of_host_sources(self):
        host = ("  requests_[next] = communicator_.start_all_reduce(names_[next], slices_[next]);\n"
                "  for (Request& request : requests_) communicator_.wait(request);\n  event->record(stream);\n")
        self.assertEqual(changes("deleted wait or collective", host, "host.cpp"),
                         [";", "for (Request& request : requests_) ;", ";"])
        self.assertEqual(changes("deleted wait or collective", host, "kernel.cu"), [])

    def test_identities_differ_and_follow_the_text(self):
        mutants = operators.mutants_of("kernel.cu", KERNEL)
        self.assertEqual(len({one.identity for one in mutants}), len(mutants))
        later = operators.mutants_of("kernel.cu", KERNEL + "\n// more\n")
        self.assertFalse({one.identity for one in mutants} & {one.identity for one in later})


if __name__ == "__main__":
    unittest.main()
