// The noun phrases of English captions, by the rule, the lists and the regular
// expression of `pipelines/noun_phrases.py`, which explains them.

/** Words by kind. */
export const WORDS = {
  // Determiners.
  D: "a an the his her its their my your our this",
  // Quantifiers, which stand for a noun, too: "one runs".
  Q:
    "one two three four five six seven eight nine ten eleven twelve dozen another some " +
    "several many few each every both all no any other these those various numerous multiple",
  O: "of",
  "&": "and",
  // After these a verb form may belong to a noun: "in swimming pools".
  I: "in on with wearing at through",
  // What no phrase goes across, pronouns first of all.
  P:
    "he she it they him them himself herself itself themselves who whom which what that " +
    "someone something somebody anything nothing everyone everything others there i you we us " +
    "me mine hers theirs",
  // The same, but adjectives after a determiner: "a nearby lake".
  F:
    "or but nor so if than because while whilst when where as though although until unless " +
    "how why not to by without from into onto over under across along around round about " +
    "above below behind beside besides between among amid amongst against near nearby next " +
    "towards toward up down off out outside inside within past during after before for like " +
    "except beyond underneath beneath atop alongside via despite upon per is are was were be " +
    "been being am has have had having do does did can could will would may might must shall " +
    "should just very too also only even then now here again already almost away together " +
    "ahead apart aside back-to-back side-by-side upside forward forwards backward backwards " +
    "outdoors indoors airborne upwards downwards upward downward sideways downhill uphill " +
    "overhead abroad alone asleep awake ready mid-jump mid-flight fast hard well still ago " +
    "instead rather more most less least barefoot holding carrying playing doing looking " +
    "underwater close headfirst amidst",
  // Nouns after a determiner only: "in front of", "on top of".
  T: "front top side back",
  // Adjectives.
  A:
    "black white red blue green yellow brown orange pink purple grey gray tan blond blonde " +
    "beige gold golden silver maroon teal turquoise navy dark light bright colorful colourful " +
    "multicolored multi-colored striped plaid checkered spotted brindle big small little " +
    "large huge tiny tall short long high low wide young old older younger elderly " +
    "middle-aged new busy wet dry dirty clean muddy sandy snowy grassy rocky wooden metal " +
    "plastic empty full open closed deep shallow shaggy furry fluffy fuzzy hairy happy sad " +
    "pretty beautiful hot cold sunny cloudy steep shirtless bald asian american " +
    "african-american indian male female adult heavy thin bare curly",
  // Plurals without -s.
  S: "people men women children",
  // Nouns that look like verbs.
  N:
    "building buildings railing clothing ceiling string ring spring king wing evening morning " +
    "thing sling painting wedding awning crossing earring stocking siding family belly " +
    "butterfly bed sled shed speed weed seed reed",
  // Verbs that are nouns after a noun, too: "a bike race".
  U: "race ride slide show swing hike view turn flip jump",
  // Other verbs.
  V:
    "aim appear approach argue ask attempt balance bark bathe beat become begin bend bite " +
    "blow bounce bound build bury buy call carry catch celebrate chase check cheer chew clap " +
    "climb cling collect come compete contain cool crash crawl cross crouch cry cut cycle " +
    "dance dash decorate descend dig direct dive drag draw dribble drink drive drop dump eat " +
    "embrace emerge engage enjoy enter examine exit explore extend fall feature feed fetch " +
    "fight film fix float fly follow frolic gallop gather gaze gesture get give glide go grab " +
    "graze greet grin grind grip grow hang help hide hit hold hop huddle hug hurdle include " +
    "inspect interact interview jog join juggle kayak keep kick kiss kneel laugh launch lay " +
    "lead lean leap leave let lick lie lift listen load look lounge lunge make march meet " +
    "miss move nap navigate nip observe overlook paddle parade parasail participate pass " +
    "pause pedal peek peer perform pet pick place play plow point poke pop pose pounce pour " +
    "practice prepare present press pretend propel protest pull punch push put raft raise " +
    "rappel reach read recline relax rest retrieve return roam roll rollerblade romp row rub " +
    "run rush sail say scale score scream see seem sell serve set shake share shine shoot " +
    "shop shovel sing sip sit skate skateboard ski skim skip slam sleep smell smile sniff " +
    "snorkel snowboard snuggle soar speak spin splash spray spread sprint squat stand stare " +
    "start stay steer step stick stop stretch stroll struggle strum study surf surround sweep " +
    "swim tackle take talk taste tend throw tie toss touch travel tread trek trot try tug " +
    "tumble twirl use visit wade wait wake walk wander wash watch wear wield work wrestle " +
    "write yawn yell",
  // Forms of verbs that no suffix tells.
  W:
    "sat stood ran held caught thrown threw worn wore rode ridden swam flew flown fell fallen " +
    "seen saw taken took made gone went came given gave shown driven drove sung sang slept " +
    "fought hung kept led left lit laid lain lies dug done written wrote drawn drew built " +
    "bent spun struck swung blown blew chewed posed gets goes dying lying tying",
};

/** Words of other languages that stand where English has those of `D` to `F`. */
export const FOREIGN =
  "der die das ein eine einen einem einer auf mit und im am ist le la les un une des du dans " +
  "sur et est avec el los las una con y en del il lo gli uno nel sul di che per e um uma na " +
  "os het een de van op met och ett dos deux trois due tre zwei drei twee drie";

const BEFORE =
  "(?:A(?:&(?=A))?|(?<=[DAI])[UVGE](?=[ANSTUVGE])|(?<=D)W(?=[ANS])|" +
  "(?<=Q)[UVGE](?=[ANST]))*";
const NOUNS =
  "(?:[NS]|(?<=[DQANS])T)" +
  "(?:[NST]|(?<=N)U|(?<=[NS])E(?=[ANS])|A(?=[AN]))*";
const WITH_DETERMINER =
  "(?:Q{0,3}DQ{0,3}|Q{1,3})(?:(?<=D)F(?=[ANSTUVGE])|(?<=Q)F(?=A))?" +
  `${BEFORE}(?:${NOUNS}|(?<=[DA])[UVWG]|(?<=A)Q)`;
const WITHOUT = `(?:(?<=I)[UVGE](?=N))?${BEFORE}${NOUNS}`;
const ADJECTIVES = `(?:D|(?<=I))${BEFORE}A(?!&A)`;
/** On the kinds of a caption's words. */
export const PATTERN =
  `(?:${WITH_DETERMINER}|${WITHOUT}|${ADJECTIVES})` +
  `(?:O(?:${WITH_DETERMINER}|${WITHOUT}))*`;

const KINDS = new Map(Object.entries(WORDS).flatMap(([kind, text]) =>
  text.split(" ").map((word) => [word, kind])));
const FOREIGN_WORDS = new Set(FOREIGN.split(" "));
const SUFFIXES = [["ies", "y"], ["es", ""], ["s", ""]];

/**
 * Finds the noun phrases of a caption; of one that is not English none.
 *
 * @param {string[]} words In lower case.
 * @return {[number, number][]} Start and stop of each, in order.
 */
export function findNounPhrases(words) {
  const english = words.filter((word) => "DQO&IPF".includes(KINDS.get(word) ?? "N"));
  const foreign = words.filter((word) => FOREIGN_WORDS.has(word) || /[^\x00-\x7f]/.test(word));
  if (english.length <= foreign.length) return [];
  const matches = words.map(kindOf).join("").matchAll(new RegExp(PATTERN, "g"));
  return [...matches].map(({index, 0: match}) => [index, index + match.length]);
}

function kindOf(word) {
  if (KINDS.has(word)) return KINDS.get(word);
  if (word.length > 4 && word.endsWith("ing")) return "G";
  if (word.length > 4 && word.endsWith("ed")) return "E";
  if (word.endsWith("ly")) return "F";
  for (const [suffix, ending] of SUFFIXES) {
    if (!word.endsWith(suffix)) continue;
    const verb = word.slice(0, -suffix.length) + ending;
    if ("UV".includes(KINDS.get(verb) ?? "N")) return "W";
  }
  return /[^iuys]s$/.test(word) ? "S" : "N";
}
