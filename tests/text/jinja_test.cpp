// The template interpreter: Python's and Jinja2's semantics in examples whose results come from jinja2 3.1.6, and the
// bounds that hold whatever a template does.
#include <chrono>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "support/support.h"
#include "text/jinja.h"

namespace ostro {
namespace {

std::string render(const std::string& source, const std::string& data = "{}") {
  std::map<std::string, jinja::Value, std::less<>> variables;
  const auto json = nlohmann::ordered_json::parse(data);
  for (const auto& [key, value] : json.items()) variables[key] = jinja::Value::from_json(value);
  return jinja::Template(source).render(std::move(variables)).bytes();
}

// The text, or the class of the error.
std::string outcome(const std::string& source, const std::string& data = "{}") {
  try {
    return render(source, data);
  } catch (const Error& error) {
    const std::string what = error.what();
    return "!" + what.substr(0, what.find(": "));
  }
}

struct Example {
  const char* source;
  const char* expected;
};

constexpr const char* kData =
    R"({"s": "Hello World", "l": [3, 1, 2], "n": null, "m": [{"role": "user", "n": 2}, {"role": "bot", "n": 1}],
        "d": {"b": 1, "a": "x", "f": 1.5, "t": true}, "mixed": ["b", "A", "c", "B"], "q": "it's \"q\" \\ \n<&>"})";

class Examples : public testing::TestWithParam<Example> {};
TEST_P(Examples, RenderAsInJinja2) { EXPECT_EQ(outcome(GetParam().source, kData), GetParam().expected); }

INSTANTIATE_TEST_SUITE_P(
    Expressions, Examples,
    testing::Values(
        Example{"{{ 2**3**2 }} {{ -7//2 }} {{ -7%3 }} {{ 7/2 }} {{ 1e16 }} {{ 0.1+0.2 }}",
                "64 -4 2 3.5 1e+16 0.30000000000000004"},
        Example{"{{ 1 < 2 < 3 }} {{ 1 == 1.0 == true }} {{ 'a' in 'abc' }} {{ 5 not in [1] }}", "True True True True"},
        Example{"{{ [none, true, 1.0, 'it\\'s', \"a\"] }} {{ (1,) }} {{ {'a': [1]} }}",
                "[None, True, 1.0, \"it's\", 'a'] (1,) {'a': [1]}"},
        Example{"{{ s[::-1] }} {{ s[1:3] }} {{ l[-1] }} {{ l[::2] }}", "dlroW olleH el 2 [3, 2]"},
        Example{"{{ 'a' + n }}", "!TypeError"}, Example{"{{ n.x.y }}", "!UndefinedError"},
        Example{"[{{ zz }}][{{ zz|length }}][{{ d.zz is defined }}][{{ 1 if false }}]", "[][0][False][]"},
        Example{"{{ zz + 1 }}", "!UndefinedError"}, Example{"{{ zz() }}", "!UndefinedError"},
        Example{"{{ 1 // 0 }}", "!ZeroDivisionError"}, Example{"{{ 1 < 'a' }}", "!TypeError"},
        Example{"{{ d.items() | list }}", "[('b', 1), ('a', 'x'), ('f', 1.5), ('t', True)]"},
        Example{"{{ q | tojson }}", R"("it's \"q\" \\ \n<&>")"},
        Example{"{{ d | tojson(indent=2) }}", "{\n  \"b\": 1,\n  \"a\": \"x\",\n  \"f\": 1.5,\n  \"t\": true\n}"},
        Example{"{{ zz | tojson }}", "!TypeError"}, Example{"{{ q | e }}", "it&#39;s &#34;q&#34; \\ \n&lt;&amp;&gt;"},
        Example{"{{ '<' + ('<'|safe) }} {{ '<' ~ ('<'|safe) }}", "&lt;< <<"},
        Example{"{{ mixed | sort | join }} {{ mixed | unique | join }} {{ m | map(attribute='n') | sum }}",
                "AbBc bAc 3"},
        Example{"{{ m | selectattr('role', 'equalto', 'bot') | map(attribute='n') | list }}", "[1]"},
        Example{"{{ l | map('zzz') }}x", "<generator object>x"}, Example{"{{ l | zzz }}", "!TemplateAssertionError"},
        Example{"{{ l | zzz if false else 'ok' }}", "ok"},
        Example{"{{ 'a b,c'.split(',') }} {{ ' x '.strip() }} {{ s.replace('o', '0', 1) }}",
                "['a b', 'c'] x Hell0 World"},
        Example{"{{ '%05.1f|%-4s|%s' % (2.25, 'ab', none) }} {{ '{:>5}{:,}'.format('x', 1234) }}",
                "002.2|ab  |None     x1,234"},
        Example{"{{ '42.9'|int }} {{ 'x'|int(7) }} {{ 2.5|round }} {{ 42.55|round(1, 'floor') }}", "42 7 2.0 42.5"},
        Example{"{{ d.pop('a') }}", "!SecurityError"}, Example{"{{ s.__class__() }}", "!SecurityError"},
        Example{"{{ raise_exception('no ' ~ 1) }}", "!TemplateError"},
        Example{"{{ \"they're (so) a-b\" | title }} {{ 'straße'|upper }}", "They're (So) A-B STRASSE"}));

INSTANTIATE_TEST_SUITE_P(
    Statements, Examples,
    testing::Values(
        Example{"{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }}{{ ', ' if not loop.last }}{% "
                "endfor %}",
                "1/2:3, 2/2:2"},
        Example{"{% for x in [] %}a{% else %}none{% endfor %}", "none"},
        Example{"{% for x in n %}{% endfor %}", "!TypeError"},
        Example{"{% for a, b in [[1]] %}{% endfor %}", "!ValueError"},
        Example{"{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "32"},
        Example{"{% for x in l %}{% break %}{% else %}E{% endfor %}", "E"},
        Example{"{% set x = 1 %}{% for y in l %}{% set x = x + y %}{{ x }}{% endfor %}{{ x }}", "4231"},
        Example{"{% set ns = namespace(x=1) %}{% for y in l %}{% set ns.x = ns.x + y %}{% endfor %}{{ ns.x }}", "7"},
        Example{"{% set x | upper %}ab{% endset %}{{ x }}", "AB"},
        Example{"{% macro f(a, b=a) %}[{{ a }}{{ b }}]{% endmacro %}{{ f(1) }}{{ f(1, b=2) }}", "[11][12]"},
        Example{"{% macro f() %}<{{ caller(1) }}>{% endmacro %}{% call(x) f() %}{{ x }}!{% endcall %}", "<1!>"},
        Example{"{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}", "!TypeError"},
        Example{"{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}", "123"},
        Example{"  {% if true %}\n  a\n  {% endif %}\nb\n", "  a\nb"}, Example{"a  {{- 1 -}}  b", "a1b"},
        Example{"  {%+ if true %}\n a{% endif +%}\nb", "   a\nb"}, Example{"{# x #}\n {#- y -#} \nz", "z"},
        Example{"{% raw %}{{ x }}{% endraw %}", "{{ x }}"},
        Example{"{% generation %}{{ s }}{% endgeneration %}", "Hello World"},
        Example{"{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}", "1"}, Example{"{% if %}", "!TemplateSyntaxError"},
        Example{"{{ 'a }}", "!TemplateSyntaxError"}, Example{"{% endif %}", "!TemplateSyntaxError"},
        Example{"{% include 'a' %}", "!TypeError"}, Example{"{% break %}", "!SyntaxError"},
        Example{"{% set ns = namespace() %}{% set ns._x = 1 %}", "!SecurityError"},
        Example{"{% set d.x = 1 %}", "!TemplateRuntimeError"}));

// Each of these would run or grow without end.
class Hostile : public testing::TestWithParam<std::string> {};
TEST_P(Hostile, EndsSoonWithAnError) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(outcome(GetParam()).substr(0, 1), "!");
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(took.count(), 20);  // under a second on an idle machine; sanitizers and neighbours slow it down
}

std::string repeated(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

INSTANTIATE_TEST_SUITE_P(
    Templates, Hostile,
    testing::Values(
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% for a in range(100000) %}{% for b in range(100000) %}xxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
        "{% set ns = namespace(x='aa') %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x='aa') %}{% for i in range(100) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='aa') %}{% for i in range(100) %}{% set ns.x = ns.x|replace('a', 'aa') %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(100) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ "
        "ns.x|tojson }}",
        "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} "
        "}}",
        "{% set ns = namespace(x=[], y=[]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
        "{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}{% endfor %}",
        "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = ns.x|map('string') %}{% endfor %}",
        "{% set ns = namespace(f={}.get) %}{% for i in range(100000) %}{% set ns.f = {'a': ns.f}.get %}{% endfor %}",
        "{{ 'a' * 1000000000000 }}", "{{ [1] * 1000000000000 }}", "{{ range(1000000000) }}",
        "{{ 'a'.center(10000000000) }}", "{{ 'a'.zfill(10000000000) }}", "{{ '%10000000000d' % 1 }}",
        "{{ '%.10000000000f' % 1 }}", "{{ '{:10000000000}'.format(1) }}", "{{ '{:.10000000000f}'.format(1) }}",
        "{{ 'a\nb'|indent(10000000000) }}", "{{ [[1]]|tojson(indent=10000000000) }}",
        "{{ [1]|batch(10000000000, 0)|list }}", "{{ [1]|slice(10000000000)|list }}", "{{ 10 ** 1000000 }}",
        "{{ 9223372036854775807 + 1 }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f() %}{% call f() %}{% endcall %}{% endmacro %}{{ f() }}",
        "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "{{ " + repeated("(", 100000) + " }}",
        "{{ " + repeated("[", 100000) + " }}", "{{ " + repeated("-", 100000) + "1 }}",
        "{{ " + repeated("not ", 100000) + "1 }}", "{{ " + repeated("1 + ", 100000) + "1 }}",
        "{{ 1" + repeated("|abs", 100000) + " }}", "{{ 1" + repeated(".a", 100000) + " }}",
        "{{ " + repeated("1 if 1 else ", 100000) + "1 }}", repeated("{% if 1 %}", 100000),
        repeated("{% for x in [1] %}", 100000), repeated("{{ {", 100000)));

TEST(Jinja, NamespacesAndFunctionsMayHoldEachOther) {
  EXPECT_EQ(render("{% set ns = namespace() %}{% set ns.x = ns %}{% set ns.f = ns.x %}{{ ns.x.f.x is defined }}"),
            "True");
  EXPECT_EQ(render("{% set ns = namespace(n=0) %}{% for i in range(20000) %}{% set old = ns.m %}"
                   "{% macro m() %}{% endmacro %}{% set ns.m = m %}{% set ns.n = namespace(n=ns.n) %}{% endfor %}ok"),
            "ok");
}

TEST(Jinja, BytesOfTheDataStayMarked) {
  std::map<std::string, jinja::Value, std::less<>> variables;
  variables["x"] = jinja::Value::from_json("uSER<");
  const jinja::Template source(
      "a{{ x|upper }}{{ ('<' + x)|lower|replace('s', 'T') }}{{ [x]|tojson }}{{ '%s-%d'|format(x[1:3], 1) }}{{ x|e }}");
  const jinja::Text text = source.render(std::move(variables));
  std::string marks;
  for (size_t i = 0; i < text.size(); ++i) marks += text.from_data(i) ? 'D' : '.';
  EXPECT_EQ(text.bytes(), "aUSER<<uTer<[\"uSER<\"]SE-1uSER&lt;");
  EXPECT_EQ(marks, ".DDDDD.D.DDD..DDDDD..DD..DDDDDDDD");
}

}  // namespace
}  // namespace ostro
