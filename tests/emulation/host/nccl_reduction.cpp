#include "host/nccl_reduction.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/dtype.h"
#include "core/error.h"

namespace plumb::emulation {
namespace {

template <class T>
constexpr bool is_integer = std::is_integral_v<T>;

/// What one operation of the type is computed in before it is rounded.
template <class T>
using Wide = std::conditional_t<sizeof(T) == 2, float, T>;

template <class T>
T larger(T a, T b) {
  if constexpr (is_integer<T>)
    return std::max(a, b);
  else
    return T(std::fmax(static_cast<Wide<T>>(a), static_cast<Wide<T>>(b)));
}

template <class T>
T smaller(T a, T b) {
  if constexpr (is_integer<T>)
    return std::min(a, b);
  else
    return T(std::fmin(static_cast<Wide<T>>(a), static_cast<Wide<T>>(b)));
}

template <class T>
T add(T a, T b) {
  if constexpr (is_integer<T>) {
    // Wraps around, as on the device.
    using Unsigned = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<Unsigned>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b)));
  } else {
    return T(static_cast<Wide<T>>(a) + static_cast<Wide<T>>(b));
  }
}

template <class T>
T prepare(T value, ncclRedOp_t operation, std::size_t ranks) {
  if constexpr (is_integer<T>) {
    return value;
  } else {
    if (operation != ncclAvg) return value;
    const T share(static_cast<Wide<T>>(1.0 / static_cast<double>(ranks)));
    return T(static_cast<Wide<T>>(value) * static_cast<Wide<T>>(share));
  }
}

template <class T>
T combine(T a, T b, ncclRedOp_t operation) {
  if (operation == ncclMax) return larger(a, b);
  if (operation == ncclMin) return smaller(a, b);
  return add(a, b);
}

template <class T>
void reduce_as(ncclRedOp_t operation, const std::vector<std::span<const std::byte>>& ranks,
               std::span<std::byte> result) {
  for (std::size_t at = 0; at < result.size(); at += sizeof(T)) {
    T total{};
    for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
      T value{};
      std::memcpy(&value, ranks[rank].data() + at, sizeof value);
      value = prepare(value, operation, ranks.size());
      total = rank == 0 ? value : combine(total, value, operation);
    }
    if constexpr (is_integer<T>) {
      if (operation == ncclAvg) total = static_cast<T>(total / static_cast<T>(ranks.size()));
    }
    std::memcpy(result.data() + at, &total, sizeof total);
  }
}

}  // namespace

std::size_t element_bytes(ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclFloat64:
      return 8;
    default:
      return 0;
  }
}

const char* name_of(ncclDataType_t type) {
  switch (type) {
    case ncclUint8:
      return "u8";
    case ncclFloat16:
      return "f16";
    case ncclBfloat16:
      return "bf16";
    case ncclInt32:
      return "i32";
    case ncclFloat32:
      return "f32";
    case ncclInt64:
      return "i64";
    case ncclFloat64:
      return "f64";
    default:
      return "another type";
  }
}

const char* name_of(ncclRedOp_t operation) {
  switch (operation) {
    case ncclSum:
      return "sum";
    case ncclMax:
      return "max";
    case ncclMin:
      return "min";
    case ncclAvg:
      return "avg";
    default:
      return "another operation";
  }
}

bool is_modelled(ncclRedOp_t operation) {
  return operation == ncclSum || operation == ncclMax || operation == ncclMin || operation == ncclAvg;
}

void reduce(ncclDataType_t type, ncclRedOp_t operation, const std::vector<std::span<const std::byte>>& ranks,
            std::span<std::byte> result) {
  switch (type) {
    case ncclUint8:
      return reduce_as<std::uint8_t>(operation, ranks, result);
    case ncclFloat16:
      return reduce_as<float16>(operation, ranks, result);
    case ncclBfloat16:
      return reduce_as<bfloat16>(operation, ranks, result);
    case ncclInt32:
      return reduce_as<std::int32_t>(operation, ranks, result);
    case ncclFloat32:
      return reduce_as<float>(operation, ranks, result);
    case ncclInt64:
      return reduce_as<std::int64_t>(operation, ranks, result);
    case ncclFloat64:
      return reduce_as<double>(operation, ranks, result);
    default:
      fail("NCCL: data type {} is not modelled by the emulation", static_cast<int>(type));
  }
}

}  // namespace plumb::emulation
