package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tidings/internal/admin"
	"tidings/internal/audience"
)

// selectionFlags are the flags that say which users are meant.
type selectionFlags struct {
	where, condition, accountType string
}

func (f *selectionFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.where, "where", "", "`EXPRESSION` that selects users")
	flags.StringVar(&f.condition, "condition", "", "`JSON` of a Condition, or @FILE")
	flags.StringVar(&f.accountType, "account-type", "", "`0|1`: UserIDs or RegistrationIDs, if the expression does not tell")
}

// selection returns what the flags say. A flag that was not given is absent.
func (f *selectionFlags) selection(cmd *cobra.Command) (s admin.Selection, err error) {
	given := cmd.Flags().Changed
	if given("where") && given("condition") {
		return s, usagef("--where and --condition exclude each other")
	}
	if given("where") {
		s.Where = &f.where
	}
	if given("condition") {
		s.Condition = []byte(f.condition)
		if name, isFile := strings.CutPrefix(f.condition, "@"); isFile {
			if s.Condition, err = os.ReadFile(name); err != nil {
				return s, fmt.Errorf("--condition: %w", err)
			}
		}
		if !json.Valid(s.Condition) {
			return s, usagef("--condition is not JSON such as {\"TagsAnd\":[\"beta\"]}")
		}
	}
	switch f.accountType {
	case "":
	case "0", "1":
		kind := audience.Kind(f.accountType[0] - '0')
		s.AccountType = &kind
	default:
		return s, usagef("--account-type %q is neither 0 (UserID) nor 1 (RegistrationID)", f.accountType)
	}
	return s, nil
}
