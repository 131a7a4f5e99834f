// What a user can be told: what is wrong, and what helps.
export class CaptionerError extends Error {
  name = "CaptionerError";
}
