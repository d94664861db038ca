package admin

import (
	"context"
	stdjson "encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"

	"tidings/internal/app"
	"tidings/internal/audience"
	"tidings/internal/transfer"
)

type (
	// ExportRequest asks for the users of an app: for all, or for those of a selection.
	ExportRequest struct {
		ID uint32 `json:"sdkappid"`
		Selection
	}
	// Selection says which users are meant, as the requests of the API about audiences do.
	// One without any member is everybody, of both account types.
	Selection struct {
		Where       *string            `json:"Where,omitempty"`
		Condition   stdjson.RawMessage `json:"Condition,omitempty"`
		AccountType *audience.Kind     `json:"AccountType,omitempty"` // if the others do not tell
	}
)

// Everybody reports whether no member is there.
func (in *Selection) Everybody() bool {
	return in.Where == nil && in.Condition == nil && in.AccountType == nil
}

// query returns the function that makes a query of a selection; nil if it is everybody.
func (in *Selection) query() (func(*audience.Attributes) (audience.Query, error), error) {
	if in.Where != nil && in.Condition != nil {
		return nil, &app.Error{Msg: "Where and Condition exclude each other"}
	}
	if in.Everybody() {
		return nil, nil
	}
	var kind audience.Kind
	if in.AccountType != nil {
		kind = *in.AccountType
	}
	if kind > audience.RegistrationID {
		return nil, &app.Error{Msg: fmt.Sprintf("AccountType %d is neither 0 nor 1", kind)}
	}
	condition, err := parseCondition(in.Condition)
	if err != nil {
		return nil, err
	}
	return func(attrs *audience.Attributes) (q audience.Query, err error) {
		q.Attributes, q.Kind = attrs, kind
		if in.Where != nil {
			q.Expr, err = audience.ParseWhere(*in.Where, attrs)
		} else {
			q.Expr, err = condition.Expr(attrs)
		}
		return q, err
	}, nil
}

// parseCondition reads a Condition as the API takes it; one that is absent is empty. A
// member that is unknown or occurs twice is an error: without it more users would be
// selected.
func parseCondition(text []byte) (audience.Condition, error) {
	var in struct {
		TagsAnd, TagsOr, TagsNot []string
		AttrsAnd, AttrsOr        map[string]string
	}
	if text != nil {
		if err := json.Unmarshal(text, &in, json.RejectUnknownMembers(true)); err != nil {
			return audience.Condition{}, &app.Error{Msg: fmt.Sprintf("Condition: %v", err)}
		}
	}
	return audience.Condition{
		TagsAnd: in.TagsAnd, TagsOr: in.TagsOr, TagsNot: in.TagsNot,
		AttrsAnd: namedValues(in.AttrsAnd), AttrsOr: namedValues(in.AttrsOr),
	}, nil
}

// namedValues returns the members of an object by their names.
func namedValues(members map[string]string) []audience.NamedValue {
	var values []audience.NamedValue
	for _, name := range slices.Sorted(maps.Keys(members)) {
		values = append(values, audience.NamedValue{Name: name, Value: members[name]})
	}
	return values
}

func (s *Service) exportUsers(ctx context.Context, in ExportRequest, _ io.Reader, out *Answer) error {
	if _, err := s.find(in.ID); err != nil {
		return err
	}
	query, err := in.query()
	if err != nil {
		return err
	}
	return transfer.Write(ctx, s.Users, in.ID, query, out)
}
