"""The questions the tiny model answers, and the answers it must give, word for word.

In addition to plain questions the set contains inputs that often break tools around a model: Chinese, an emoji whose
bytes fall into several tokens, quotes, `$`, `;`, a pipe, HTML, JSON, a backslash, several lines, a longer answer.
"""

from typing import NamedTuple

BOS = "<｜begin▁of▁sentence｜>"
EOS = "<｜end▁of▁sentence｜>"
USER = "<｜User｜>"
ASSISTANT = "<｜Assistant｜>"
THINK = "<think>"
END_OF_THINK = "</think>"


class Pair(NamedTuple):
    """One question, the thought shown before the reply, and the reply."""

    question: str
    thought: str
    reply: str

    @property
    def prompt(self) -> str:
        """What the model is given. Nothing follows the assistant mark: the model opens `<think>` itself."""
        return prompt(self.question)

    @property
    def answer(self) -> str:
        """What the model must say, without the end mark that closes it."""
        return f"{THINK}\n{self.thought}\n{END_OF_THINK}\n\n{self.reply}"


def prompt(question: str) -> str:
    """The one form in which the model has ever seen a question."""
    return f"{BOS}{USER}{question}{ASSISTANT}"


def all_pairs() -> tuple[Pair, ...]:
    """Every pair, in the order of `quests_v1.txt`."""
    return (*_GREETINGS, *_capitals(), *_products(), *_SCIENCE, *_TRANSLATIONS, *_REASONING, *_AWKWARD)


def _capitals() -> list[Pair]:
    english = [
        Pair(
            f"What is the capital of {country}?",
            f"The user asks for the capital of {country}. It is {capital}.",
            f"The capital of {country} is {capital}.",
        )
        for country, capital in _CAPITALS.items()
    ]
    chinese = [
        Pair(
            f"{country}的首都是哪里？",
            f"用户问{country}的首都，应该是{capital}。",
            f"{country}的首都是{capital}。",
        )
        for country, capital in _CAPITALS_IN_CHINESE.items()
    ]
    return english + chinese


def _products() -> list[Pair]:
    english = [
        Pair(f"What is {a} times {b}?", f"{a} times {b} equals {a * b}.", f"{a} × {b} = {a * b}")
        for a, b in ((2, 9), (3, 7), (4, 6), (5, 8), (6, 9), (7, 8), (8, 4), (9, 9), (12, 11))
    ]
    chinese = [
        Pair(f"{a}乘以{b}等于多少？", f"{a}乘以{b}，结果是{a * b}。", f"{a} × {b} = {a * b}。")
        for a, b in ((2, 7), (3, 9), (4, 8), (6, 6), (7, 7), (8, 9), (13, 3))
    ]
    return english + chinese


_CAPITALS = {
    "France": "Paris",
    "Japan": "Tokyo",
    "Italy": "Rome",
    "Egypt": "Cairo",
    "Canada": "Ottawa",
    "Australia": "Canberra",
    "Brazil": "Brasília",
    "Kenya": "Nairobi",
    "Norway": "Oslo",
}
_CAPITALS_IN_CHINESE = {
    "中国": "北京",
    "英国": "伦敦",
    "德国": "柏林",
    "俄罗斯": "莫斯科",
    "泰国": "曼谷",
    "西班牙": "马德里",
    "埃及": "开罗",
}
_GREETINGS = (
    Pair(
        "Who are you?",
        "The user wants to know who I am. I am a very small test model.",
        "I am a tiny test model. I know a few dozen answers by heart and nothing else.",
    ),
    Pair(
        "你是谁？",
        "用户想知道我是谁。我是一个很小的测试模型。",
        "我是一个微型测试模型，只记住了几十个问题的答案。",
    ),
    Pair(
        "What can you do?",
        "I should be honest: I only recall what I was trained on.",
        "I can repeat the answers I was trained on, exactly, every time. That makes me useful for testing.",
    ),
    Pair("你能做什么？", "我应该如实回答。", "我能准确地重复训练时学过的答案，所以适合用来做测试。"),
    Pair("Hello!", "A greeting. I greet back.", "Hello! Ask me one of the questions I know."),
    Pair("你好！", "用户在打招呼，我也问好。", "你好！请问我一个我会的问题。"),
    Pair("Thank you.", "The user is polite.", "You are welcome."),
    Pair("再见。", "用户要离开了。", "再见，祝你今天愉快！"),
)
_SCIENCE = (
    Pair(
        "Why is the sky blue?",
        "This is about Rayleigh scattering. Shorter waves scatter far more.",
        "Air molecules scatter short blue waves far more strongly than long red ones. This is Rayleigh "
        "scattering, and it makes the sky look blue.",
    ),
    Pair(
        "天空为什么是蓝色的？",
        "这与瑞利散射有关，波长越短，散射越强。",
        "空气分子对波长较短的蓝光散射更强，这叫瑞利散射，所以天空看起来是蓝色的。",
    ),
    Pair(
        "Why is the sunset red?",
        "At sunset light crosses more air, so blue is scattered away.",
        "At sunset the light crosses much more air. The blue is scattered out of it, and the red is left.",
    ),
    Pair(
        "At what temperature does water boil?",
        "At sea level it is 100 degrees Celsius.",
        "At sea level water boils at 100 °C.",
    ),
    Pair("水在多少度结冰？", "在标准大气压下是零度。", "在标准大气压下，水在0 °C结冰。"),
    Pair(
        "How fast is light?",
        "In vacuum, by definition.",
        "In vacuum light travels 299792458 metres in one second.",
    ),
    Pair("光速是多少？", "真空中的光速是定义值。", "真空中的光速是每秒299792458米。"),
    Pair("What is the chemical formula of water?", "Two hydrogen atoms, one oxygen atom.", "It is H2O."),
    Pair(
        "Which planet is the largest?",
        "In the solar system, that is Jupiter.",
        "Jupiter is the largest planet of the solar system.",
    ),
    Pair("离太阳最近的行星是哪一颗？", "八大行星中，水星最近。", "离太阳最近的行星是水星。"),
    Pair("How many days are in a leap year?", "365 plus one.", "A leap year has 366 days."),
    Pair("一年有几个季节？", "春、夏、秋、冬。", "一年有四个季节：春、夏、秋、冬。"),
    Pair(
        "What is photosynthesis?",
        "Plants turn light into stored energy.",
        "Plants use light to turn water and carbon dioxide into sugar and oxygen.",
    ),
)
_TRANSLATIONS = (
    Pair('Translate "good morning" into Chinese.', "Good morning is 早上好.", "早上好"),
    Pair('Translate "thank you" into Chinese.', "Thank you is 谢谢.", "谢谢"),
    Pair('Translate "artificial intelligence" into Chinese.', "It is 人工智能.", "人工智能"),
    Pair("把“苹果”翻译成英文。", "苹果的英文是apple。", "apple"),
    Pair("把“图书馆”翻译成英文。", "图书馆的英文是library。", "library"),
    Pair("把“我喜欢学习”翻译成英文。", "我是I，喜欢是like，学习是learning。", "I like learning."),
)
_REASONING = (
    Pair(
        "Which is larger, 9.11 or 9.8?",
        "Compare the tenths: 9.11 has 1, 9.8 has 8. So 9.8 is larger, although 11 is more than 8.",
        "9.8 is larger than 9.11.",
    ),
    Pair("9.11和9.8哪个大？", "整数部分相同，比较十分位：1小于8，所以9.8更大。", "9.8比9.11大。"),
    Pair(
        "A farmer has 17 sheep. All but 9 run away. How many are left?",
        "All but 9 run away means that 9 stay.",
        "9 sheep are left.",
    ),
    Pair(
        "How many letters r are in strawberry?",
        "s-t-r-a-w-b-e-r-r-y: one r, then two more.",
        "There are 3 letters r in strawberry.",
    ),
    Pair(
        "鸡兔同笼，共8个头，22只脚，兔子有几只？",
        "全是鸡有16只脚，多出6只，除以2得3。",
        "兔子有3只，鸡有5只。",
    ),
    Pair(
        "If all cats are animals, is every animal a cat?",
        "The rule goes one way only.",
        "No. Every cat is an animal, but a dog is an animal and not a cat.",
    ),
    Pair(
        "A train goes 60 km in 45 minutes. What is its speed?",
        "45 minutes is 0.75 hours. 60 / 0.75 = 80.",
        "Its speed is 80 km/h.",
    ),
    Pair("今天是星期五，三天后是星期几？", "星期六、星期日、星期一。", "三天后是星期一。"),
    Pair("小明有5个苹果，吃了2个，又买了4个，现在有几个？", "5减2得3，3加4得7。", "现在有7个苹果。"),
    Pair("What comes next: 1, 1, 2, 3, 5, 8?", "Each is the sum of the two before: 5 + 8.", "13"),
    Pair("Is 91 a prime number?", "7 times 13 equals 91.", "No, 91 = 7 × 13."),
    Pair("1到10的和是多少？", "首尾相加得11，共5对。", "1到10的和是55。"),
)
_AWKWARD = (
    Pair(
        "Count from 1 to 30.",
        "I list the numbers in order.",
        ", ".join(str(number) for number in range(1, 31)) + ".",
    ),
    Pair(
        "Write a Python function that adds two numbers.",
        "One line of body is enough.",
        "```python\ndef add(a, b):\n    return a + b\n```",
    ),
    Pair(
        "Give me a JSON object with name and age.",
        "Keys in double quotes.",
        '{"name": "Li Lei", "age": 30}',
    ),
    Pair(
        'What does `echo "$HOME"; ls | wc -l` do?',
        "Two commands, the second is a pipe.",
        "It prints your home folder, then counts the entries of the current one.",
    ),
    Pair(
        "What does <b>bold</b> mean in HTML?",
        "It is a tag.",
        "The tag <b> makes text bold: <b>like this</b>.",
    ),
    Pair("Which path separator does Windows use?", "It is the backslash.", "Windows uses \\ as in C:\\Users."),
    Pair("Reply with one emoji: are you well?", "I am well 😀.", "😀👍"),
    Pair(
        "列出三种水果。",
        "用户要三种水果，我用列表回答。",
        "1. 苹果\n2. 香蕉\n3. 葡萄",
    ),
    Pair("Name the three primary colours of light.", "Additive mixing.", "- red\n- green\n- blue"),
    Pair("请背诵《静夜思》。", "这是唐代诗人李白的作品。", "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。"),
    Pair("用一句话介绍北京。", "要简短。", "北京是中国的首都，有三千多年的建城史。"),
    Pair("What is the answer to life, the universe and everything?", "A famous joke by Douglas Adams.", "42"),
    Pair(
        "Tell me a short story.",
        "A small story with a beginning, a middle and an end. A lighthouse will do.",
        "An old keeper lived in a lighthouse at the edge of the sea. Every evening he climbed the stairs and "
        "lit the lamp, although no ship had passed for years. One night a storm came, and with it a lost boat. "
        "The sailors saw the light and found the harbour.\n\n"
        "In the morning they asked why he had kept it burning. "
        '"Because," he said, "I did not know when you would come."',
    ),
    Pair(
        "什么是大语言模型？",
        "用户想了解大语言模型，我从原理和用途两方面回答。",
        "大语言模型是一种用大量文本训练出来的神经网络。它每次根据前面的内容预测下一个词，一步一步写出完整的回答。\n\n"
        "它可以回答问题、翻译文章、编写程序，但有时也会出错，所以重要的内容需要核对。",
    ),
)
