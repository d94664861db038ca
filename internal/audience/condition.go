package audience

import (
	"slices"

	"tidings/internal/apierr"
	"tidings/internal/wording"
)

// MaxConditionTags is the most tags, or attributes, in one list of a Condition.
// MaxAddTags is the most tags in one entry of add_tag (spec/timpush-api.md, 5 and 6.2).
const (
	MaxConditionTags = 10
	MaxAddTags       = 10
)

// A Condition is the contract's way to select users: by tags or by attributes, not by
// both. An empty Condition selects everyone. Contract: spec/timpush-api.md, 6.2.
type Condition struct {
	TagsAnd, TagsOr, TagsNot []string
	AttrsAnd, AttrsOr        []NamedValue
}

// A NamedValue is a value with the name of its attribute.
type NamedValue struct{ Name, Value string }

// Expr checks a condition against the attributes of the app and returns the expression
// with the same meaning.
func (c *Condition) Expr(attrs *Attributes) (Expr, error) {
	tags := len(c.TagsAnd) + len(c.TagsOr) + len(c.TagsNot)
	if tags > 0 && len(c.AttrsAnd)+len(c.AttrsOr) > 0 {
		return nil, apierr.TagsAndAttributes.Errorf("tag and attribute conditions exclude each other")
	}
	for _, l := range []struct {
		name string
		tags []string
	}{{"TagsAnd", c.TagsAnd}, {"TagsOr", c.TagsOr}, {"TagsNot", c.TagsNot}} {
		if len(l.tags) > MaxConditionTags {
			return nil, apierr.TooManyTags.Errorf("Condition.%s has %d tags, at most %d are allowed", l.name, len(l.tags), MaxConditionTags)
		}
		for i, tag := range l.tags {
			if err := CheckTag(tag); err != nil {
				return nil, err.Kind.Errorf("Condition.%s[%d]: %s", l.name, i, err.Info())
			}
		}
	}
	for i, tag := range c.TagsOr {
		if slices.Contains(c.TagsAnd, tag) {
			return nil, apierr.TagTwice.Errorf("Condition.TagsOr[%d]: tag %q is in TagsAnd too", i, tag)
		}
	}
	all := And{}
	for _, tag := range c.TagsAnd {
		all = append(all, HasTag{tag})
	}
	if len(c.TagsOr) > 0 {
		some := make(Or, len(c.TagsOr))
		for i, tag := range c.TagsOr {
			some[i] = HasTag{tag}
		}
		all = append(all, some)
	}
	for _, tag := range c.TagsNot {
		all = append(all, Not{HasTag{tag}})
	}
	and, err := equals("AttrsAnd", c.AttrsAnd, attrs)
	if err != nil {
		return nil, err
	}
	or, err := equals("AttrsOr", c.AttrsOr, attrs)
	if err != nil {
		return nil, err
	}
	all = append(all, and...)
	if len(or) > 0 {
		all = append(all, Or(or))
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// equals returns a term for each value of a list; where is the list's name.
func equals(where string, list []NamedValue, attrs *Attributes) ([]Expr, error) {
	if len(list) > MaxConditionTags {
		return nil, apierr.InvalidAttribute.Errorf("Condition.%s has %d attributes, at most %d are allowed", where, len(list), MaxConditionTags)
	}
	terms := make([]Expr, len(list))
	for i, nv := range list {
		slot := attrs.Index(nv.Name)
		if slot < 0 {
			return nil, apierr.InvalidAttribute.Errorf("invalid attribute: Condition.%s names %q, which is not set with set_attr_name%s", where, clip(nv.Name), attrs.suggest(nv.Name))
		}
		if err := CheckValue(nv.Value); err != nil {
			return nil, apierr.InvalidAttribute.Errorf("Condition.%s.%s: %s", where, nv.Name, err.Info())
		}
		terms[i] = Equals{Ref{slot, nv.Name}, []string{nv.Value}}
	}
	return terms, nil
}

// CheckTag returns why a tag is refused: empty (90040) or too long (90020).
func CheckTag(tag string) *apierr.Error {
	switch {
	case tag == "":
		return apierr.EmptyTag.Errorf("the tag is empty")
	case len(tag) > MaxTagBytes:
		return apierr.TagTooLong.Errorf("tag %q has %d bytes, it may have %d", clip(tag), len(tag), MaxTagBytes)
	}
	return nil
}

// CheckValue returns why an attribute value is refused: empty or too long (90033).
func CheckValue(value string) *apierr.Error {
	if value == "" || len(value) > MaxValueBytes {
		return apierr.InvalidAttribute.Errorf("value %q has %d bytes, it may have 1 to %d", clip(value), len(value), MaxValueBytes)
	}
	return nil
}

// clip returns a text for an error, or the beginning of a long one.
func clip(s string) string { return wording.Clip(s, 100) }

// KindOf returns the account type of the attributes in an expression. known is false if
// the expression has no attribute. Attributes of both types are an error, 90035.
func KindOf(e Expr, attrs *Attributes) (kind Kind, known bool, err error) {
	Walk(e, func(term Expr) {
		ref, ok := AttrOf(term)
		if !ok {
			return
		}
		switch k := attrs[ref.Slot].Kind; {
		case !known:
			kind, known = k, true
		case k != kind && err == nil:
			err = apierr.WrongAccountKind.Errorf("attribute %s is for another account type than the attributes before it", ref.Name)
		}
	})
	return kind, known, err
}
