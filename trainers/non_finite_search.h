// NonFiniteSearch: the first result in a forward and backward pass that is not finite.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/observed_backend.h"

namespace plumb {

/// One bad tensor, and where it comes from.
struct BadTensor {
  std::string pass;    ///< "forward", "backward", or "parameters": bad before the pass
  std::string part;    ///< of the model: "blocks.7.ffn", "head and loss", "final norm" or "embedding"
  std::string op;      ///< "linear_forward"; empty of a parameter
  std::string tensor;  ///< as the op's arguments call it ("y"), or the parameter's name
  Shape shape;
  DType dtype = DType::Float32;
  std::int64_t row = 0, column = 0;  ///< of the first bad entry
  double value = 0;                  ///< it: NaN or infinite
  std::int64_t bad_entries = 0;
};

/// Whether each of its rows belongs to one token of the micro-batch, which has `rows` of them. Weights and
/// their gradients may have as many rows.
bool has_row_per_token(const BadTensor& bad, std::int64_t rows);

/// Entries of a device tensor that are not finite; nothing where there is none. Waits for the stream.
std::optional<BadTensor> find_bad_entries(Backend& backend, Stream& stream, const Tensor& tensor);

/// Looks at what every op has written until one result is bad; what comes after follows from it.
class NonFiniteSearch final : public OpObserver {
 public:
  /// The backend, not the observed one, must outlive it.
  explicit NonFiniteSearch(Backend& backend) : backend_(backend) {}

  /// "forward" or "backward": which pass comes.
  void begin(const char* pass) {
    pass_ = pass;
    has_entered_ = false;
  }
  const std::optional<BadTensor>& found() const { return found_; }

  void wrote(Stream& stream, const char* op, const char* name, const Tensor& tensor) override;
  void entered(const char* range) override {
    ranges_.emplace_back(range);
    has_entered_ = true;
  }
  void left() override { ranges_.pop_back(); }

 private:
  std::string part() const;

  Backend& backend_;
  std::string pass_;
  std::vector<std::string> ranges_;
  bool has_entered_ = false;  ///< in this pass
  std::optional<BadTensor> found_;
};

}  // namespace plumb
