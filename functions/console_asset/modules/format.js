// Numbers and times in plain words.

export function usageInWords({ limit, used, remaining, resetsAt }) {
  if (limit === null) return `${count(used, "prompt")} sent today`;
  if (remaining > 0) return `${remaining} of ${count(limit, "prompt")} left today`;
  return `No prompts left until ${time(resetsAt)}`;
}

export function count(number, noun) {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

// "14:00", or "Nov 26, 14:00" on another day.
export function time(text, now = new Date()) {
  if (!text) return "midnight (UTC)";
  const moment = new Date(text);
  const isToday = moment.toDateString() === now.toDateString();
  const day = isToday ? {} : { month: "short", day: "numeric" };
  return moment.toLocaleString([], { ...day, hour: "2-digit", minute: "2-digit" });
}

export function date(text) {
  return new Date(text).toLocaleDateString([], { year: "numeric", month: "long", day: "numeric" });
}
