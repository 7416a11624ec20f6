// The growth class of a depth profile: how the variance of the stream grows from sublayer to sublayer.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>

namespace plumb {

/// Unknown: fewer than kShortestProfile usable values. NotFinite: the profile holds a NaN or an infinity.
enum class GrowthClass { Unknown, NotFinite, Bounded, Linear, Power, Quadratic, Exponential };
std::string_view growth_class_name(GrowthClass growth_class);

/// What is fitted to Var_k - Var_0 at depth x = k/K, k = 1..K, with c > 0 (Constant: any sign).
enum class GrowthModel {
  Constant,     ///< c
  Saturating,   ///< c (1 - exp(-x/tau)), tau <= 1/3: 95 % of the limit is reached within the depth
  Linear,       ///< c x
  Power,        ///< c x^p
  Quadratic,    ///< c x^2
  Exponential,  ///< c (exp(r x) - 1), r >= 1: slower ones cannot be told from a power
};
inline constexpr int kGrowthModels = 6;
std::string_view growth_model_name(GrowthModel model);

struct GrowthFit {
  GrowthModel model = GrowthModel::Constant;
  double scale = 0;      ///< c, the growth over the whole depth
  double parameter = 0;  ///< tau, p or r; 0 where the model has none
  double misfit = 0;     ///< scale of log Var_k - log fit_k, what stands out counted little
  double aicc = 0;       ///< smaller is better; only differences mean something
};

struct Growth {
  GrowthClass growth_class = GrowthClass::Unknown;
  /// p of the power fit with its 95 % confidence interval, whichever model was chosen; NaN where Var does
  /// not rise like any power (never, or only at the very end).
  double exponent = 0, exponent_low = 0, exponent_high = 0;
  double total = 0;               ///< Var_K / Var_0
  int values = 0;                 ///< K values that were fitted
  double independent_values = 0;  ///< of them, as far as neighbours do not err alike
  /// In the order of GrowthModel; all 0 when nothing was fitted.
  std::array<GrowthFit, kGrowthModels> fits{};
  /// The fit that gives the class.
  const GrowthFit& best() const;
};

inline constexpr int kShortestProfile = 8;

/// variance: Var_0..Var_K, the entry-wise variance of the stream at every sublayer boundary.
///
/// Every model is fitted to log Var_k, since the error of a variance goes with its size, by maximum
/// likelihood under errors with heavy tails (growth_fit.h). The class is that of the model with the smallest
/// AICc, or of a simpler one less than 2 above it (Burnham and Anderson, 2002); AICc = -2 n/K log L + 2q +
/// 2q(q+1)/(n-q-1), q = parameters + 1 (Hurvich and Tsai, Biometrika 76, 1989). Neighbouring sublayers err
/// alike (the stream is a sum), so n is not K but K (1-a)/(1+a), a = lag-1 autocorrelation of the residuals
/// of the closest model. The confidence interval of p allows for errors that add up from sublayer to
/// sublayer.
///
/// Pure and without state: every profile is judged by itself.
Growth classify_growth(std::span<const double> variance);

/// "linear, p = 0.98 (0.95 to 1.02), 48.1-fold over the depth": one phrase for a person.
std::string growth_text(const Growth& growth);
/// What the choice is based on: "AICc over 96 values, 40 of them independent: linear chosen (typical
/// misfit 3.1 %), power +2.1, ...".
std::string growth_basis(const Growth& growth);

}  // namespace plumb
