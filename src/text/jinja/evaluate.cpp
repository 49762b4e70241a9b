// The interpreter's expressions.
#include <algorithm>

#include "text/jinja/interpreter_depth.h"

namespace inkstone::jinja {
namespace {

std::string object_name(const Value& object) {
  return object.is_none() ? "'None'" : fmt::format("'{} object'", object.type_name());
}

// The index that `key` means in `size` items, or nothing.
std::optional<size_t> position(int64_t key, size_t size) {
  const auto count = static_cast<int64_t>(size);
  if (key < 0) key += count;
  if (key < 0 || key >= count) return std::nullopt;
  return static_cast<size_t>(key);
}

Value loop_attribute(const Value::LoopPtr& loop, std::string_view name) {
  const auto index = static_cast<int64_t>(loop->index);
  const auto size = static_cast<int64_t>(loop->items.size());
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "revindex") return size - index;
  if (name == "revindex0") return size - index - 1;
  if (name == "first") return index == 0;
  if (name == "last") return index + 1 == size;
  if (name == "length") return size;
  if (name == "depth") return int64_t{loop->level} + 1;
  if (name == "depth0") return int64_t{loop->level};
  if (name == "previtem")
    return index == 0 ? Value::undefined("there is no previous item") : loop->items[loop->index - 1];
  if (name == "nextitem")
    return index + 1 >= size ? Value::undefined("there is no next item") : loop->items[loop->index + 1];
  if (name == "cycle")
    return native(
        "cycle",
        [](Interpreter&, const Value& self, const Arguments& arguments) -> Value {
          if (arguments.positional.empty()) raise("no items for cycling given");
          return arguments.positional[self.as_loop()->index % arguments.positional.size()];
        },
        loop);
  if (name == "changed")
    return native(
        "changed",
        [](Interpreter&, const Value& self, const Arguments& arguments) -> Value {
          Loop& state = *self.as_loop();
          MarkedText now;  // kept as text: a value might hold the loop itself
          append_repr(now, make_list(arguments.positional, List::Kind::tuple));
          const bool same = state.has_changed && state.changed == now.text;
          state.has_changed = true;
          state.changed = std::move(now.text);
          return !same;
        },
        loop);
  return Value::undefined(fmt::format("'LoopContext' has no attribute '{}'", name));
}

}  // namespace

Value native(std::string name, NativeFunction function, Value self) {
  auto made = std::make_shared<Function>();
  made->name = std::move(name);
  made->native = function;
  made->depth = self.depth() + 1;
  made->self = std::move(self);
  if (made->depth > kMaxNesting) raise("values are nested more than {} levels deep", kMaxNesting);
  return Value::FunctionPtr(std::move(made));
}

Value Interpreter::evaluate(const ExprNode& expr) {
  const Depth depth(*this);
  line_ = expr.line;
  switch (expr.op) {
    case Op::constant: return expr.constant;
    case Op::name: return evaluate_name(expr);
    case Op::list: return make_list(evaluate_all(expr.operands));
    case Op::tuple: return make_list(evaluate_all(expr.operands), List::Kind::tuple);
    case Op::dict: return evaluate_dict(expr);
    case Op::attribute: return attribute(evaluate(*expr.operands[0]), expr.name);
    case Op::item: return evaluate_item(expr);
    case Op::slice: raise("a slice is no value");
    case Op::call: return evaluate_call(expr);
    case Op::filter: return evaluate_filter(expr);
    case Op::test: return evaluate_test(expr);
    case Op::negate: return negate(evaluate(*expr.operands[0]));
    case Op::positive: return positive(evaluate(*expr.operands[0]));
    case Op::not_: return !evaluate(*expr.operands[0]).truthy();
    case Op::and_: {
      Value left = evaluate(*expr.operands[0]);
      return left.truthy() ? evaluate(*expr.operands[1]) : left;
    }
    case Op::or_: {
      Value left = evaluate(*expr.operands[0]);
      return left.truthy() ? left : evaluate(*expr.operands[1]);
    }
    case Op::conditional: return evaluate_conditional(expr);
    case Op::concat: return evaluate_concat(expr);
    case Op::compare: return evaluate_compare(expr);
    default: {
      const Value left = evaluate(*expr.operands[0]);
      return arithmetic(expr.op, left, evaluate(*expr.operands[1]));
    }
  }
}

Value Interpreter::evaluate_name(const ExprNode& expr) {
  if (expr.symbol == kBlockText) return *block_text_;
  if (const Value* value = scope_->find(expr.symbol)) return *value;
  const std::string& name = tree_.symbols.name(expr.symbol);
  if (const NativeFunction function = find_global(name)) return native(name, function);
  return Value::undefined(fmt::format("'{}' is undefined", name));
}

std::vector<Value> Interpreter::evaluate_all(const std::vector<Expr>& exprs) {
  std::vector<Value> values;
  values.reserve(exprs.size());
  for (const Expr& expr : exprs) values.push_back(evaluate(*expr));
  return values;
}

Value Interpreter::evaluate_dict(const ExprNode& expr) {
  std::vector<Dict::Item> items;
  for (size_t i = 0; i + 1 < expr.operands.size(); i += 2) {
    Value key = evaluate(*expr.operands[i]);
    items.emplace_back(std::move(key), evaluate(*expr.operands[i + 1]));
  }
  return make_dict(std::move(items));
}

Value Interpreter::evaluate_concat(const ExprNode& expr) {
  MarkedText out;
  for (const Value& value : evaluate_all(expr.operands)) append_str(out, value);
  return make_text(std::move(out));
}

Value Interpreter::evaluate_compare(const ExprNode& expr) {
  Value left = evaluate(*expr.operands[0]);
  for (size_t i = 0; i < expr.compares.size(); ++i) {
    Value right = evaluate(*expr.operands[i + 1]);
    bool holds = false;
    switch (expr.compares[i]) {
      case Compare::eq: holds = equals(left, right); break;
      case Compare::ne: holds = !equals(left, right); break;
      case Compare::lt: holds = less(left, right); break;
      case Compare::gt: holds = less(right, left); break;
      case Compare::le: holds = less(left, right) || equals(left, right); break;
      case Compare::ge: holds = less(right, left) || equals(left, right); break;
      case Compare::in: holds = contains(right, left); break;
      case Compare::not_in: holds = !contains(right, left); break;
    }
    if (!holds) return false;
    left = std::move(right);
  }
  return true;
}

Value Interpreter::evaluate_conditional(const ExprNode& expr) {
  if (evaluate(*expr.operands[0]).truthy()) return evaluate(*expr.operands[1]);
  if (expr.operands[2]) return evaluate(*expr.operands[2]);
  return Value::undefined("the inline if-expression evaluated to false and no else section was defined");
}

Value Interpreter::evaluate_item(const ExprNode& expr) {
  const Value object = evaluate(*expr.operands[0]);
  const ExprNode& key = *expr.operands[1];
  if (key.op == Op::slice) return evaluate_slice(object, key);
  return item(object, evaluate(key));
}

Value Interpreter::evaluate_slice(const Value& object, const ExprNode& slice) {
  std::optional<int64_t> bounds[3];
  for (size_t i = 0; i < 3; ++i) {
    if (!slice.operands[i]) continue;
    const Value bound = evaluate(*slice.operands[i]);
    if (bound.is_none()) continue;
    if (!bound.is_int()) raise("slice indices must be integers or None");
    bounds[i] = bound.as_int();
  }
  object.check_defined();
  const bool text = object.is_text();
  if (!text && !(object.is_list() && object.as_list()->has_subscript()))
    raise("'{}' object cannot be sliced", object.type_name());
  const int64_t step = bounds[2].value_or(1);
  if (step == 0) raise("slice step cannot be zero");
  const auto size = static_cast<int64_t>(length(object));
  // Python's rule: out of range is clipped, towards the side that the step comes from.
  const auto clip = [&](std::optional<int64_t> bound, int64_t otherwise) {
    if (!bound) return otherwise;
    const int64_t at = *bound < 0 ? *bound + size : *bound;
    return step > 0 ? std::clamp<int64_t>(at, 0, size) : std::clamp<int64_t>(at, -1, size - 1);
  };
  const int64_t start = clip(bounds[0], step > 0 ? 0 : size - 1);
  const int64_t stop = clip(bounds[1], step > 0 ? size : -1);
  if (text && step == 1) {
    const Text& source = *object.as_text();
    if (start >= stop) return inkstone::jinja::slice(source, 0, 0);
    return inkstone::jinja::slice(source, source.offset_of(static_cast<size_t>(start)),
                                  source.offset_of(static_cast<size_t>(stop)));
  }
  const std::vector<Value> items = walk(object);
  std::vector<Value> taken;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    taken.push_back(items[static_cast<size_t>(i)]);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  if (!text) return make_list(std::move(taken), object.as_list()->kind);
  MarkedText out;
  for (const Value& piece : taken) append_str(out, piece);
  return make_text(std::move(out));
}

Arguments Interpreter::evaluate_arguments(const ExprNode& expr) {
  Arguments arguments;
  for (size_t i = 1; i < expr.operands.size(); ++i) arguments.positional.push_back(evaluate(*expr.operands[i]));
  for (const auto& [name, value] : expr.named) arguments.named.emplace_back(name, evaluate(*value));
  if (expr.star_args) {
    const Value more = evaluate(*expr.star_args);
    more.check_defined();
    for (Value& value : walk(more)) arguments.positional.push_back(std::move(value));
  }
  if (expr.star_named) {
    const Value more = evaluate(*expr.star_named);
    if (!more.is_dict()) raise("argument after ** must be a mapping, not {}", more.type_name());
    for (const auto& [name, value] : more.as_dict()->items) {
      if (!name.is_text()) raise("keywords must be strings");
      arguments.named.emplace_back(std::string(name.view()), value);
    }
  }
  for (size_t i = 0; i < arguments.named.size(); ++i) {
    charge(i * 16);
    for (size_t j = 0; j < i; ++j)
      if (arguments.named[i].first == arguments.named[j].first)
        raise("got multiple values for keyword argument '{}'", arguments.named[i].first);
  }
  return arguments;
}

Value Interpreter::evaluate_call(const ExprNode& expr) {
  const Value callee = evaluate(*expr.operands[0]);
  const Arguments arguments = evaluate_arguments(expr);
  line_ = expr.line;
  return call(callee, arguments);
}

Value Interpreter::evaluate_filter(const ExprNode& expr) {
  const Value value = evaluate(*expr.operands[0]);
  const Arguments arguments = evaluate_arguments(expr);
  line_ = expr.line;
  if (!expr.native) raise("no filter named '{}'", expr.name);
  return expr.native(*this, value, arguments);
}

Value Interpreter::evaluate_test(const ExprNode& expr) {
  const Value value = evaluate(*expr.operands[0]);
  const Arguments arguments = evaluate_arguments(expr);
  line_ = expr.line;
  if (!expr.native) raise("no test named '{}'", expr.name);
  return expr.native(*this, value, arguments);
}

Value Interpreter::filter(std::string_view name, const Value& value, const Arguments& arguments) {
  const NativeFunction function = find_filter(name);
  if (!function) raise("no filter named '{}'", name);
  const Depth depth(*this);
  return function(*this, value, arguments);
}

bool Interpreter::test(std::string_view name, const Value& value, const Arguments& arguments) {
  const NativeFunction function = find_test(name);
  if (!function) raise("no test named '{}'", name);
  const Depth depth(*this);
  return function(*this, value, arguments).truthy();
}

Value Interpreter::attribute(const Value& object, std::string_view name) {
  object.check_defined();
  NativeFunction method = nullptr;
  if (object.is_text()) method = find_text_method(name);
  if (object.is_dict()) method = find_dict_method(name);
  if (object.is_list()) {
    const List& list = *object.as_list();
    if (list.kind == List::Kind::group && name == "grouper") return list.items[0];
    if (list.kind == List::Kind::group && name == "list") return list.items[1];
    if (list.has_subscript()) method = find_list_method(name);
  }
  if (method) return native(std::string(name), method, object);
  if (object.is_dict()) {
    static constexpr std::string_view kChanging[] = {"clear", "pop", "popitem", "setdefault", "update"};
    if (std::find(std::begin(kChanging), std::end(kChanging), name) != std::end(kChanging))
      return Value::undefined(fmt::format("access to attribute '{}' of 'dict' object is unsafe", name));
    if (const Value* value = object.as_dict()->find(name)) return *value;
  }
  if (object.is_list() && object.as_list()->kind == List::Kind::list) {
    static constexpr std::string_view kChanging[] = {"append", "clear",  "extend",  "insert",
                                                     "pop",    "remove", "reverse", "sort"};
    if (std::find(std::begin(kChanging), std::end(kChanging), name) != std::end(kChanging))
      return Value::undefined(fmt::format("access to attribute '{}' of 'list' object is unsafe", name));
  }
  if (object.is_namespace())
    if (const Value* value = object.as_namespace()->find(name)) return *value;
  if (object.is_loop()) return loop_attribute(object.as_loop(), name);
  if (object.is_function() && object.as_function()->macro && name == "name")
    return text_value(object.as_function()->name);
  return Value::undefined(fmt::format("{} has no attribute '{}'", object_name(object), name));
}

Value Interpreter::item(const Value& object, const Value& key) {
  object.check_defined();
  if (object.is_dict()) {
    const bool hashable = !key.is_dict() && !(key.is_list() && !key.as_list()->is_tuple());
    if (const Value* value = hashable ? object.as_dict()->find(key) : nullptr) return *value;
  }
  if (key.is_text()) {
    charge(key.as_text()->size());
    return attribute(object, key.view());
  }
  if (key.is_int() && object.is_list() && object.as_list()->has_subscript()) {
    const auto& items = object.as_list()->items;
    if (const auto at = position(key.as_int(), items.size())) return items[*at];
  }
  if (key.is_int() && object.is_text()) {
    const Text& text = *object.as_text();
    if (const auto at = position(key.as_int(), text.chars()))
      return slice(text, text.offset_of(*at), text.offset_of(*at + 1));
  }
  return Value::undefined(fmt::format("{} has no such element", object_name(object)));
}

}  // namespace inkstone::jinja
