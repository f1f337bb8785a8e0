// The tests: what follows `is`.
#include <algorithm>

#include "base/error.h"
#include "text/jinja_runtime.h"

namespace ostro::jinja {

namespace {
Builtin simple(bool (*holds)(const Value&)) {
  return {{}, 0, [holds](Runtime&, const Value& self, const Parameters&) -> Value { return holds(self); }};
}

Builtin ordered(std::string_view op, bool (*holds)(int)) {
  return {{"other"}, 1, [op, holds](Runtime& runtime, const Value& self, const Parameters& p) -> Value {
            const auto order = compare(runtime.budget, self, p[0], op);
            return order && holds(*order);
          }};
}

Builtin equality(bool wanted) {
  return {{"other"}, 1, [wanted](Runtime& runtime, const Value& self, const Parameters& p) -> Value {
            return equal(runtime.budget, self, p[0]) == wanted;
          }};
}

Builtin remainder(int64_t wanted) {
  return {{}, 0, [wanted](Runtime& runtime, const Value& self, const Parameters&) -> Value {
            return equal(runtime.budget, runtime.binary("%", self, Value(2)), Value(wanted));
          }};
}

// str.islower and str.isupper: some cased character, and none of the other case.
Builtin all_of_case(bool wanted_upper) {
  return {{}, 0, [wanted_upper](Runtime& runtime, const Value& self, const Parameters&) -> Value {
            const Text text = runtime.text(self);
            bool found = false;
            for (size_t at = 0; at < text.size();) {
              const Codepoint c = codepoint_at(text.view(), at);
              if (is_title(c.value) || (wanted_upper ? is_lower(c.value) : is_upper(c.value))) return false;
              found = found || (wanted_upper ? is_upper(c.value) : is_lower(c.value));
              at += c.size;
            }
            return found;
          }};
}

bool is_sequence(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_dict() || value.is_sequence(SequenceKind::List) ||
         value.is_sequence(SequenceKind::Tuple) || value.is_sequence(SequenceKind::Range);
}

bool is_loop(const Value& value) { return value.is_object() && value.as_object().type_name() == "LoopContext"; }
}  // namespace

const BuiltinTable& tests() {
  static const BuiltinTable kTable = [] {
    BuiltinTable t;
    t["defined"] = simple([](const Value& v) { return !v.is_undefined(); });
    t["undefined"] = simple([](const Value& v) { return v.is_undefined(); });
    t["none"] = simple([](const Value& v) { return v.is_none(); });
    t["boolean"] = simple([](const Value& v) { return v.is_bool(); });
    t["true"] = simple([](const Value& v) { return v.is_bool() && truthy(v); });
    t["false"] = simple([](const Value& v) { return v.is_bool() && !truthy(v); });
    t["integer"] = simple([](const Value& v) { return v.is_int(); });
    t["float"] = simple([](const Value& v) { return v.is_float(); });
    t["number"] = simple([](const Value& v) { return v.number().has_value(); });
    t["string"] = simple([](const Value& v) { return v.is_string(); });
    t["mapping"] = simple([](const Value& v) { return v.is_dict(); });
    t["sequence"] = simple(is_sequence);
    t["iterable"] = simple([](const Value& v) { return is_iterable(v) || is_loop(v); });
    t["callable"] =
        simple([](const Value& v) { return v.is_undefined() || (v.is_object() && v.as_object().callable()); });
    t["escaped"] = simple([](const Value& v) { return v.is_string() && v.as_string().markup; });
    t["odd"] = remainder(1);
    t["even"] = remainder(0);
    t["lower"] = all_of_case(false);
    t["upper"] = all_of_case(true);
    t["divisibleby"] = {{"num"}, 1, [](Runtime& runtime, const Value& self, const Parameters& p) -> Value {
                          return equal(runtime.budget, runtime.binary("%", self, p[0]), Value(0));
                        }};
    t["filter"] = {{}, 0, [](Runtime&, const Value& self, const Parameters&) -> Value {
                     return self.is_string() && is_filter(self.text().view());
                   }};
    t["test"] = {{}, 0, [](Runtime&, const Value& self, const Parameters&) -> Value {
                   return self.is_string() && is_test(self.text().view());
                 }};
    t["sameas"] = {
        {"other"}, 1, [](Runtime&, const Value& self, const Parameters& p) -> Value { return self.same_object(p[0]); }};
    t["in"] = {{"seq"}, 1, [](Runtime& runtime, const Value& self, const Parameters& p) -> Value {
                 return runtime.contains(p[0], self);
               }};
    t["eq"] = t["=="] = t["equalto"] = equality(true);
    t["ne"] = t["!="] = equality(false);
    t["gt"] = t[">"] = t["greaterthan"] = ordered(">", [](int order) { return order > 0; });
    t["ge"] = t[">="] = ordered(">=", [](int order) { return order >= 0; });
    t["lt"] = t["<"] = t["lessthan"] = ordered("<", [](int order) { return order < 0; });
    t["le"] = t["<="] = ordered("<=", [](int order) { return order <= 0; });
    return t;
  }();
  return kTable;
}

}  // namespace ostro::jinja
