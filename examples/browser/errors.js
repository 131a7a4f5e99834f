// An error that a user can mend: its message says what is wrong, and what helps.
export class CaptionerError extends Error {
  name = "CaptionerError";
}
