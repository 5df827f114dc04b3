package agent

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// ParseSchedule reads a cron expression of five fields, or @every, @hourly, @daily and their like, in the named time zone
// ("" is UTC). A TZ= prefix is refused: the time zone has a field of its own, and the parser panics on a bad prefix.
func ParseSchedule(expr, zone string) (cron.Schedule, error) {
	if strings.TrimSpace(expr) == "" {
		return nil, errors.New("the schedule is empty: write a cron expression such as */10 * * * *")
	}
	if strings.Contains(expr, "TZ=") {
		return nil, fmt.Errorf("schedule %q: write the time zone into time_zone, not into the expression", expr)
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("time_zone %q is not known: write a name such as Europe/Berlin or UTC", zone)
	}
	s, err := cron.ParseStandard(expr)
	if err != nil {
		return nil, fmt.Errorf("schedule %q: %w: write five fields (minute hour day month weekday) or @every 10m, @hourly, @daily", expr, err)
	}
	if s.Next(time.Now()).IsZero() {
		return nil, fmt.Errorf("schedule %q never comes: no such day exists within five years", expr)
	}
	return inZone{s, loc}, nil
}

// inZone evaluates a schedule in a fixed time zone, whatever zone the machine is in.
type inZone struct {
	cron.Schedule
	loc *time.Location
}

// Next is the first moment after t.
func (z inZone) Next(t time.Time) time.Time { return z.Schedule.Next(t.In(z.loc)) }
